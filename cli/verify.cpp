// nervus verify: a checkpoint against a reference case, stage by stage.
#include <map>

#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/tools.h"

namespace nervus::cli {
namespace {

struct VerifyOptions {
  PolicyOptions policy;
  std::string case_directory;
  bool all = false;
};

// "prefix.3.key" -> "prefix.*.key"; other stages stay as they are.
std::string without_layer(const std::string& stage) {
  const std::size_t first = stage.find('.'), last = stage.rfind('.');
  const std::string middle = first < last ? stage.substr(first + 1, last - first - 1) : "";
  if (!stage.starts_with("prefix.") || middle.empty() || middle.find_first_not_of("0123456789") != std::string::npos)
    return stage;
  return "prefix.*" + stage.substr(last);
}

// Of all layers' keys, and of all values, the worst: one that failed before one that passed, then the larger error.
std::vector<StageError> condensed(const std::vector<StageError>& stages) {
  std::vector<StageError> out;
  std::map<std::string, std::size_t> place;
  for (const StageError& stage : stages) {
    const auto [found, is_new] = place.try_emplace(without_layer(stage.stage), out.size());
    if (is_new) {
      out.push_back(stage);
      continue;
    }
    StageError& worst = out[found->second];
    if (worst.passed != stage.passed ? worst.passed : !(stage.error <= worst.error)) worst = stage;
  }
  return out;
}

int verify_case(const VerifyOptions& options, const Output& output) {
  const VerifyReport report =
      verify(options.policy.checkpoint, options.case_directory, options.policy.load_options(output.progress()));
  Table table({"stage", "error", "1 - cosine", "tolerance", ""});
  Json document = {{"passed", report.passed()}, {"precision", options.policy.precision}, {"stages", Json::array()}};
  for (const StageError& stage : report.stages)
    document["stages"].push_back({{"stage", stage.stage},
                                  {"error", stage.error},
                                  {"cosine", stage.cosine},
                                  {"tolerance", stage.tolerance},
                                  {"passed", stage.passed}});
  for (const StageError& stage : options.all ? report.stages : condensed(report.stages)) {
    const bool several = !options.all && without_layer(stage.stage) != stage.stage;
    table.add({stage.stage + (several ? " (worst layer)" : ""), number(stage.error, 3), number(1 - stage.cosine, 3),
               number(stage.tolerance, 3), stage.passed ? "pass" : "FAIL"},
              stage.passed ? Style::plain : Style::bad);
  }
  output.verdict(table, document, report.passed(), report.passed() ? "passed" : "FAILED");
  return report.passed() ? 0 : 1;
}

}  // namespace

Command add_verify(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<VerifyOptions>();
  options->policy.precision = name_of(Precision::f32);
  add_checkpoint(verb, options->policy.checkpoint);
  add_option(verb, "--case", options->case_directory, "DIR", "The case: inputs.safetensors and expected.safetensors")
      .required();
  add_device(verb, options->policy);
  verb.add_flag("--all", options->all, "Every layer's keys and values, not the worst alone");
  verb.footer(
      "Stages: prefix embeddings [B, L, D], keys and values of each layer [B, L, G, d], velocity and actions [B, n, "
      "A].\n"
      "error is the largest difference over the largest expected value. The tolerance holds for error in f32 and for\n"
      "1 - cosine in bf16. Exit code 1 beyond it.\n"
      "\nExample:\n  nervus verify --checkpoint tests/goldens/base --case tests/goldens/base\n");
  return [options, &output] { return verify_case(*options, output); };
}

}  // namespace nervus::cli
