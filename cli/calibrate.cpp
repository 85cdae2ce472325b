// nervus calibrate: how large the inputs of each linear are over samples, and how often they exceed a calibration.
#include <algorithm>

#include "cli/interrupt.h"
#include "cli/observation.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/tools.h"

namespace nervus::cli {
namespace {

struct Options {
  PolicyOptions policy;
  std::vector<std::string> inputs;
  std::string robot, norm_stats, out, check;
  double percentile = CalibrateOptions{}.percentile;
};

// A directory with a prompt is an observation, anything else holds tensors.
Sample read_sample(const std::filesystem::path& path) {
  std::error_code unknown;
  if (std::filesystem::exists(path / "prompt.txt", unknown)) return read_observation(path);
  return Inputs::load(path);
}

double share_of(const LinearRange& linear) {
  return static_cast<double>(linear.beyond) / static_cast<double>(std::max<std::int64_t>(1, linear.values));
}

Json document_of(const std::vector<LinearRange>& linears) {
  Json document = Json::array();
  for (const LinearRange& linear : linears)
    document.push_back({{"linear", linear.linear},
                        {"range", linear.range},
                        {"largest", linear.largest},
                        {"values", linear.values},
                        {"beyond", linear.beyond}});
  return document;
}

Json document_of(const Options& options, const CalibrationReport& report) {
  return {{"checkpoint", options.policy.checkpoint},
          {"digest", report.digest},
          {"samples", report.samples},
          {"percentile", report.percentile},
          {options.check.empty() ? "out" : "check", options.check.empty() ? options.out : options.check},
          {"linears", document_of(report.linears)},
          {"streams", document_of(report.streams)}};
}

// The linears whose largest input, or what stands before the norm that they read, is furthest beyond their range.
void print(const CalibrationReport& report, const Output& output) {
  constexpr std::size_t shown = 10;
  std::vector<LinearRange> linears = report.linears;
  for (LinearRange stream : report.streams) {
    stream.linear += ", before its norm";
    linears.push_back(stream);
  }
  std::ranges::stable_sort(linears, std::greater(), [](const LinearRange& l) { return l.largest / l.range; });
  Table table({"linear", "range", "largest", "beyond the range"});
  for (std::size_t i = 0; i < std::min(shown, linears.size()); ++i)
    table.add({linears[i].linear, number(linears[i].range), number(linears[i].largest),
               number(100 * share_of(linears[i]), 3) + " %"});
  output.table(table);
  if (linears.size() > shown)
    output.text("  and " + std::to_string(linears.size() - shown) + " less beyond theirs: --json lists them");
}

int run(const Options& options, const Output& output) {
  if (options.out.empty() == options.check.empty()) throw Error(ErrorKind::usage, "give --out or --check, one of them");
  if (!options.out.empty()) expect_output(options.out);
  CalibrateOptions calibrating{.load = options.policy.load_options(output.progress()),
                               .percentile = options.percentile,
                               .check = options.check,
                               .progress = output.progress()};
  calibrating.load.robot = options.robot;
  calibrating.load.norm_stats = options.norm_stats;
  const CalibrationReport report = calibrate(
      options.policy.checkpoint, options.inputs.size(), [&](std::size_t i) { return read_sample(options.inputs[i]); },
      calibrating);
  if (!options.out.empty()) write_calibration(options.out, report);
  print(report, output);
  output.text("\n" + std::to_string(report.linears.size()) + " linears, " + std::to_string(report.samples) +
              " samples, " +
              (options.check.empty() ? "percentile " + number(report.percentile) + ": " + options.out
                                     : "against " + options.check));
  output.document(document_of(options, report));
  return 0;
}

}  // namespace

Command add_calibrate(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<Options>();
  add_checkpoint(verb, options->policy.checkpoint);
  add_option(verb, "--inputs", options->inputs, "PATH",
             "Samples, any number: tensors as 'nervus run --inputs' takes them, or directories of an observation: "
             "cam_high.png and the wrists, state.json, prompt.txt")
      .required();
  add_option(verb, "--percentile", options->percentile, "P",
             "A linear's range is this percentile, 50 to 100, of |x| over all that enters it; 100 is the largest and "
             "seldom worse: e4m3 is as precise for small values as for large ones, but saturates");
  add_option(verb, "--out", options->out, "FILE",
             "Write the calibration, a .json, which holds for this checkpoint alone");
  add_option(verb, "--check", options->check, "FILE",
             "Instead, count how often the samples exceed the ranges of this calibration")
      .excludes("--percentile");
  add_option(verb, "--robot", options->robot, "NAME", "Of observations: whose joints these are, aloha or robotwin");
  add_option(verb, "--norm-stats", options->norm_stats, "FILE",
             "Statistics of the robot's data (default: norm_stats.json beside the checkpoint)");
  add_steps(verb, options->policy);
  add_option(verb, "--device", options->policy.device, "NAME", "Where to compute");
  add_option(verb, "--precision", options->policy.precision, "f32|bf16", "What to compute in");
  add_plan(verb, options->policy.plan);
  add_threads(verb, options->policy.threads);
  verb.footer(
      "fp8 stores the input x of a linear as x / (range / 448); what exceeds the range saturates. What fused linears\n"
      "read is taken before the norm, and its range has room for four times the largest.\n"
      "\nExample:\n  nervus calibrate --checkpoint lingbot-vla-4b --inputs samples/* --out calibration.json\n");
  return [options, &output] { return run(*options, output); };
}

}  // namespace nervus::cli
