// nervus replay: what a server recorded, asked again; every reply to the last bit.
#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/record.h"

namespace nervus::cli {
namespace {

struct ReplayArguments {
  std::string file, checkpoint, norm_stats, calibration, plan, precision;
  std::string device = "cpu";
  int threads = 0;
  double tolerance = 0;
};

LoadOptions load_options(const ReplayArguments& arguments, const RecordInfo& info, const Output& output) {
  LoadOptions load = info.load;
  load.device = arguments.device;
  load.norm_stats = arguments.norm_stats;
  load.calibration = arguments.calibration;
  load.plan = arguments.plan;
  load.threads = arguments.threads;
  if (!arguments.precision.empty() && arguments.precision != name_of(load.precision)) {
    load.precision = precision_from(arguments.precision);
    load.recipe.clear();  // that of another precision
  }
  load.progress = output.progress();
  return load;
}

Json document_of(const ReplayDifference& difference) {
  Json entry = {{"record", difference.record},     {"session", difference.session},   {"ticket", difference.ticket},
                {"dialect", difference.dialect},   {"seed", difference.seed},         {"steps", difference.steps},
                {"recorded", difference.recorded}, {"replayed", difference.replayed}, {"elements", difference.elements},
                {"largest", difference.largest}};
  if (difference.first)
    entry["first"] = {{"step", difference.first->step},
                      {"joint", difference.first->joint},
                      {"name", difference.first->name},
                      {"recorded", difference.first->recorded},
                      {"replayed", difference.first->replayed}};
  return entry;
}

void add_row(const ReplayDifference& difference, Table& table) {
  const std::string record = std::to_string(difference.record), seed = std::to_string(difference.seed);
  if (!difference.first) {
    table.add({record, seed, "", difference.recorded, difference.replayed, "", ""}, Style::bad);
    return;
  }
  const auto& [step, joint, name, recorded, replayed] = *difference.first;
  const std::string place =
      "[" + std::to_string(step) + ", " + std::to_string(joint) + "]" + (name.empty() ? "" : " " + name);
  table.add({record, seed, place, shortest(recorded), shortest(replayed), std::to_string(difference.elements),
             number(difference.largest, 3)},
            Style::bad);
}

// "7 of 9 replies identical to the last bit, 2 more within 0.01; ...: DIFFERENT"
std::string verdict_of(const ReplayReport& report, std::uint64_t within, double tolerance, std::size_t shown) {
  const std::size_t different = report.differences.size() - within;
  std::string line = std::to_string(report.identical) + " of " + std::to_string(report.records - report.skipped) +
                     " replies identical to the last bit";
  if (within > 0) line += ", " + std::to_string(within) + " more within " + shortest(tolerance);
  if (different > shown) line += "; the first " + std::to_string(shown) + " differences are shown";
  if (report.end.damaged) line += "; the file is DAMAGED";
  return different > 0 ? line + ": DIFFERENT" : line;
}

int replay(const ReplayArguments& arguments, const Output& output) {
  constexpr std::size_t shown = 20;
  if (!(arguments.tolerance >= 0))
    throw Error(ErrorKind::usage, "--tolerance: expected a difference of actions, 0 or more");
  const LoadOptions load = load_options(arguments, read_record_info(arguments.file), output);
  const ReplayReport report = nervus::replay(arguments.file, arguments.checkpoint, load);
  Table table({"record", "seed", "first at", "recorded", "replayed", "elements", "largest difference"}, {2, 3, 4});
  Json document = {{"file", arguments.file},
                   {"recorded_by",
                    {{"version", report.info.version}, {"family", report.info.family}, {"device", report.info.device}}},
                   {"precision", name_of(load.precision)},
                   {"records", report.records},
                   {"compared", report.records - report.skipped},
                   {"identical", report.identical},
                   {"skipped", report.skipped},
                   {"tolerance", arguments.tolerance},
                   {"end",
                    {{"usable_bytes", report.end.usable_bytes},
                     {"ignored_bytes", report.end.ignored_bytes},
                     {"damaged", report.end.damaged},
                     {"why", report.end.why}}},
                   {"differences", Json::array()}};
  std::uint64_t within = 0;
  for (const ReplayDifference& difference : report.differences) {
    const bool close = difference.first && difference.largest <= arguments.tolerance;
    if (close) ++within;
    else if (document["differences"].size() - within < shown) add_row(difference, table);
    document["differences"].push_back(document_of(difference));
    document["differences"].back()["passed"] = close;
  }
  const bool passed = within == report.differences.size() && !report.end.damaged;
  document["within_tolerance"] = within;
  document["passed"] = passed;
  if (report.skipped > 0)
    output.text(std::to_string(report.skipped) + " skipped, whose answer depended on time or on a failed device");
  if (!report.end.why.empty())
    output.text(arguments.file + ": " + report.end.why + "; " + std::to_string(report.end.ignored_bytes) +
                " bytes behind " + std::to_string(report.records) + " records are not read");
  if (!passed && arguments.tolerance == 0 && load.device.starts_with("cuda"))
    output.text(
        "a GPU chooses its products for each batch, and anew at each load but for those of --plan, which may move last "
        "bits: --tolerance");
  output.verdict(table, document, passed, verdict_of(report, within, arguments.tolerance, shown));
  return passed ? 0 : 1;
}

}  // namespace

Command add_replay(CLI::App& verb, const Output& output) {
  const auto arguments = std::make_shared<ReplayArguments>();
  add_option(verb, "FILE", arguments->file, "FILE", "What 'nervus serve --record FILE' wrote").required();
  add_checkpoint(verb, arguments->checkpoint);
  add_option(verb, "--norm-stats", arguments->norm_stats, "FILE",
             "Statistics of the robot's data (default: norm_stats.json beside the checkpoint)");
  add_option(verb, "--calibration", arguments->calibration, "FILE", "Of linears in e4m3, as of 'nervus serve'");
  add_option(verb, "--precision", arguments->precision, "f32|bf16|f16|fp8|int8",
             "How weights and activations are held (default: as recorded)");
  add_option(verb, "--device", arguments->device, "NAME", "Where to compute");
  add_plan(verb, arguments->plan);
  add_threads(verb, arguments->threads);
  add_option(verb, "--tolerance", arguments->tolerance, "X",
             "Largest difference of an action that passes, in its unit (rad, m); 0: every bit must be the same");
  verb.footer(
      "Robot, precision, step counts, normalization, guard, prompt and seed are the recording's. Exit code 1 if a "
      "reply\n"
      "differs by more than the tolerance, or the file is damaged; a last record that is cut short is told and left "
      "out.\nOn a GPU last bits may differ from batch to batch, and from load to load without the server's --plan.\n"
      "\nExample:\n"
      "  nervus replay monday.record --checkpoint tiny --norm-stats examples/aloha/norm_stats.json\n");
  return [arguments, &output] { return replay(*arguments, output); };
}

}  // namespace nervus::cli
