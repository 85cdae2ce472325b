// nervus inspect: what a checkpoint is, read from its headers alone.
#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/tools.h"

namespace nervus::cli {
namespace {

Json to_json(const CheckpointReport& report, const std::string& precision) {
  Json out = {{"family", report.family}, {"variants", report.variants}, {"precision", precision}};
  out["sizes"] = report.sizes;
  out["formats"] = report.formats;
  out["linears"] = report.linears;
  for (const PartReport& part : report.parts)
    out["parts"].push_back({{"part", part.part}, {"tensors", part.tensors}, {"parameters", part.parameters}});
  for (const StageWork& work : report.work)
    out["work"].push_back({{"stage", work.stage}, {"flops", work.flops}, {"weight_bytes", work.weight_bytes}});
  out.update({{"file_bytes", report.file_bytes},
              {"weight_bytes", report.weight_bytes},
              {"workspace_bytes", report.workspace_bytes},
              {"device", report.device},
              {"device_bytes", report.device_bytes},
              {"graphs", report.graphs},
              {"linear_plan", report.linear_plan},
              {"attention_plan", report.attention_plan},
              {"files", report.files},
              {"missing", report.missing},
              {"mismatched", report.mismatched},
              {"unknown", report.unknown},
              {"digest", report.digest}});
  return out;
}

void print_names(const std::string& what, const std::vector<std::string>& names, Style style, const Output& output) {
  constexpr std::size_t shown = 20;
  if (names.empty()) return;
  output.text("\n" + output.styled(style, what + ": " + std::to_string(names.size())));
  for (std::size_t i = 0; i < std::min(names.size(), shown); ++i) output.text("  " + one_line(names[i]));
  if (names.size() > shown)
    output.text("  and " + std::to_string(names.size() - shown) + " more: --json lists them all");
}

void print(const CheckpointReport& report, const std::string& precision, const Output& output) {
  output.text(report.family + (report.variants.empty() ? "" : ": " + listed(report.variants)));
  Table sizes({"size", ""}, {1});
  for (const auto& [what, value] : report.sizes) sizes.add({what, value});
  Table parts({"part", "tensors", "parameters"});
  for (const PartReport& part : report.parts)
    parts.add({part.part, std::to_string(part.tensors), scaled(static_cast<double>(part.parameters), "")});
  Table work({"one call", "work", "weights read"});
  for (const StageWork& stage : report.work)
    work.add({stage.stage, scaled(stage.flops, "FLOP"), scaled(stage.weight_bytes, "B")});
  Table memory({"memory", ""});
  memory.add({"files", scaled(static_cast<double>(report.file_bytes), "B")});
  memory.add({"weights in " + precision, scaled(static_cast<double>(report.weight_bytes), "B")});
  memory.add({"activations and caches", scaled(static_cast<double>(report.workspace_bytes), "B")});
  if (report.device_bytes > 0)
    memory.add({"all on " + report.device, scaled(static_cast<double>(report.device_bytes), "B")});
  for (const Table& table : {sizes, parts, work, memory}) {
    output.text("");
    if (!table.empty()) output.table(table);
  }
  const auto counted = [](const std::map<std::string, std::int64_t>& formats) {
    std::vector<std::string> counts;
    for (const auto& [dtype, count] : formats) counts.push_back(std::to_string(count) + " in " + dtype);
    return listed(counts);
  };
  output.text("\ntensors: " + counted(report.formats));
  if (!report.linears.empty()) output.text("linears: " + counted(report.linears));
  print_plan("attention", report.attention_plan, output);
  print_plan("linears on " + report.device, report.linear_plan, output);
  if (report.graphs > 0) output.text("graphs: " + std::to_string(report.graphs));
  output.text("beside:  " + (report.files.empty() ? "nothing" : listed(report.files)));
  output.text("digest:  " + report.digest);
  print_names("MISSING", report.missing, Style::bad, output);
  print_names("MISMATCHED", report.mismatched, Style::bad, output);
  print_names("unknown, not used", report.unknown, Style::plain, output);
}

int inspect_checkpoint(const PolicyOptions& options, const Output& output) {
  const CheckpointReport report = inspect(options.checkpoint, options.load_options({}));
  print(report, options.precision, output);
  output.document(to_json(report, options.precision));
  return report.missing.empty() && report.mismatched.empty() ? 0 : exit_code(ErrorKind::checkpoint);
}

}  // namespace

Command add_inspect(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<PolicyOptions>();
  add_option(verb, "DIR", options->checkpoint, "DIR", "Checkpoint directory").required();
  add_steps(verb, *options);
  add_device(verb, *options);
  verb.footer(
      "Work is in floating-point operations of one call with all views, full text and the first of --steps. A GPU is\n"
      "asked how it would compute, by a load without weights, which reads --plan but writes none. For a CPU nothing\n"
      "is loaded.\n"
      "Exit code 4 if a required tensor is missing or has another shape; the report is printed all the same.\n"
      "\nExample:\n  nervus inspect lingbot-vla-4b --precision bf16\n");
  return [options, &output] { return inspect_checkpoint(*options, output); };
}

}  // namespace nervus::cli
