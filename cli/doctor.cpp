// nervus doctor: what this build and machine can do, what is missing, and how to mend it.
#include <algorithm>

#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/tools.h"

namespace nervus::cli {
namespace {

// Whether the checkpoint is whole, and in which precisions it fits into memory.
void examine_checkpoint(const std::string& directory, std::vector<Finding>& findings) {
  for (const Precision precision : {Precision::bf16, Precision::f32}) {
    LoadOptions load;
    load.precision = precision;
    const CheckpointReport report = inspect(directory, load);
    if (precision == Precision::bf16) {
      const std::size_t wrong = report.missing.size() + report.mismatched.size();
      findings.push_back(
          {"checkpoint", wrong == 0,
           report.family +
               (wrong == 0 ? ", complete" : ", " + std::to_string(wrong) + " tensors missing or mismatched"),
           wrong == 0 ? "" : "'nervus inspect " + directory + "' names them"});
      if (wrong > 0) return;  // what it needs is not known
    }
    const auto needed = static_cast<double>(report.weight_bytes + report.workspace_bytes);
    const auto available = static_cast<double>(available_memory());
    const bool fits = needed <= available;
    findings.push_back(
        {std::string("in ") + name_of(precision), fits || precision == Precision::f32,
         scaled(needed, "B") +
             (fits ? " needed, which fits" : " needed, more than the " + scaled(available, "B") + " available"),
         fits                          ? ""
         : precision == Precision::f32 ? "use --precision bf16"
                                       : "free memory, or use a machine with more"});
  }
}

int doctor(const std::string& checkpoint, const Output& output) {
  std::vector<Finding> findings = examine_machine();
  if (!checkpoint.empty()) examine_checkpoint(checkpoint, findings);
  Table table({"", "", ""}, {1, 2});
  Json document = {{"usable", true}, {"findings", Json::array()}};
  for (const Finding& finding : findings) {
    table.add({finding.what, finding.good ? "ok" : "NO", one_line(finding.detail)},
              finding.good ? Style::plain : Style::bad);
    if (!finding.mend.empty()) table.add({"", "", "-> " + one_line(finding.mend)});
    document["findings"].push_back(
        {{"what", finding.what}, {"good", finding.good}, {"detail", finding.detail}, {"mend", finding.mend}});
  }
  const bool usable =
      std::all_of(findings.begin(), findings.end(), [](const Finding& finding) { return finding.good; });
  document["usable"] = usable;
  output.verdict(table, document, usable,
                 usable ? "nervus can be used here" : "nervus cannot be used here until this is mended");
  return usable ? 0 : exit_code(ErrorKind::unsupported);
}

}  // namespace

Command add_doctor(CLI::App& verb, const Output& output) {
  const auto checkpoint = std::make_shared<std::string>();
  add_option(verb, "--checkpoint", *checkpoint, "DIR",
             "Also say whether this checkpoint is whole and fits into memory");
  verb.footer("Exit code 5 if something stands in the way.\n\nExample:\n  nervus doctor --checkpoint lingbot-vla-4b\n");
  return [checkpoint, &output] { return doctor(*checkpoint, output); };
}

}  // namespace nervus::cli
