// nervus bench: latency of the whole call and of each stage, and what share of peak the linears reach.
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include "build_commit.h"
#include "cli/actions.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/policy.h"
#include "nervus/tools.h"

namespace nervus::cli {
namespace {

struct BenchOptions {
  PolicyOptions policy;
  std::string inputs;
  int warmup = 3;
  int runs = 50;
  std::uint64_t seed = 0;
};

// A stage's milliseconds over the runs, in the order of the stages.
using Samples = std::vector<std::pair<std::string, std::vector<double>>>;

// The least sample that at least `share` of all do not exceed. `sorted` is not empty.
double percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

// Random tensors as large as the policy takes, all views and tokens valid.
Inputs random_inputs(const PolicyInfo& info, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto fill = [&](Shape shape) {
    Array array(DType::f32, std::move(shape));
    std::generate_n(array.data<float>(), array.count(), [&] { return normal(random); });
    return array;
  };
  const Limits& limits = info.limits;
  Inputs inputs;
  inputs.images = fill({limits.batch, limits.views, limits.patches, 1176});
  inputs.state = fill({limits.batch, info.state_dimensions});
  inputs.image_mask = Array(DType::boolean, {limits.batch, limits.views});
  inputs.tokens = Array(DType::i64, {limits.batch, limits.text_tokens});
  inputs.token_mask = Array(DType::boolean, inputs.tokens.shape);
  std::fill(inputs.image_mask.bytes.begin(), inputs.image_mask.bytes.end(), std::byte{1});
  std::fill(inputs.token_mask.bytes.begin(), inputs.token_mask.bytes.end(), std::byte{1});
  std::generate_n(inputs.tokens.data<std::int64_t>(), inputs.tokens.count(),
                  [&] { return static_cast<std::int64_t>(random() % 100); });
  return inputs;
}

Samples measure(Policy& policy, int steps, const BenchOptions& options, const ProgressFunction& progress) {
  Inputs inputs;
  if (!options.inputs.empty()) inputs = Inputs::load(options.inputs);
  inputs.noise = Array();
  Samples samples;
  const std::string what = "measuring " + std::to_string(steps) + " steps";
  for (int run = 0; run < options.warmup + options.runs; ++run) {
    const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(run);
    if (options.inputs.empty()) inputs = random_inputs(policy.info(), seed);
    const ActionChunk chunk = policy.infer(inputs, {.steps = steps, .seed = seed});
    if (progress) progress(run + 1, options.warmup + options.runs, what);
    if (run < options.warmup) continue;
    const auto stages = stages_of(chunk);
    samples.resize(stages.size());
    for (std::size_t i = 0; i < stages.size(); ++i) {
      samples[i].first = stages[i].first;
      samples[i].second.push_back(stages[i].second);
    }
  }
  for (auto& [stage, milliseconds] : samples) std::sort(milliseconds.begin(), milliseconds.end());
  return samples;
}

// Tensor names with every layer's number as '*'.
std::string without_numbers(const std::string& name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool digit = name[i] >= '0' && name[i] <= '9' && (i == 0 || name[i - 1] == '.' || out.back() == '*');
    if (!digit) out += name[i];
    else if (out.empty() || out.back() != '*') out += '*';
  }
  return out;
}

// What tells linears of one stage apart: behind the layer's '*', or the last two words.
std::string shortened(const std::string& name) {
  const std::size_t layer = name.rfind(".*.");
  if (layer != std::string::npos) return name.substr(layer + 3);
  const std::size_t last = name.rfind('.');
  const std::size_t before = last == std::string::npos || last == 0 ? last : name.rfind('.', last - 1);
  return before == std::string::npos ? name : name.substr(before + 1);
}

void add(OpRecord& sum, const OpRecord& record) {
  sum.calls += record.calls;
  sum.milliseconds += record.milliseconds;
  sum.flops += record.flops;
  sum.bytes += record.bytes;
}

// The linears of each kind in each stage, all layers' `mlp.down_proj` for one, slowest first.
std::vector<OpRecord> profile_linears(Policy& policy, int steps, const BenchOptions& options) {
  const Inputs inputs =
      options.inputs.empty() ? random_inputs(policy.info(), options.seed) : Inputs::load(options.inputs);
  // The same ops in the same order in every call: the fastest of a few is the one least disturbed.
  std::vector<OpRecord> records = policy.profile(inputs, {.steps = steps, .seed = options.seed});
  for (int repeat = 1; repeat < std::min(options.runs, 5); ++repeat) {
    const std::vector<OpRecord> again = policy.profile(inputs, {.steps = steps, .seed = options.seed});
    for (std::size_t i = 0; i < records.size(); ++i)
      records[i].milliseconds = std::min(records[i].milliseconds, again.at(i).milliseconds);
  }
  std::vector<OpRecord> groups;
  for (OpRecord& record : records) {
    if (record.flops <= 0 || record.name.empty()) continue;
    record.name = without_numbers(record.name);
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const OpRecord& g) {
      return g.stage == record.stage && g.name == record.name && g.rows == record.rows;
    });
    if (group == groups.end()) groups.push_back(record);
    else add(*group, record);
  }
  std::sort(groups.begin(), groups.end(),
            [](const OpRecord& a, const OpRecord& b) { return a.milliseconds > b.milliseconds; });
  return groups;
}

Json report_latency(int steps, const Samples& samples, const Output& output) {
  Json out = {{"steps", steps}};
  Table table({std::to_string(steps) + " steps", "p50", "p95", "p99", "max", "mean"});
  for (const auto& [stage, sorted] : samples) {
    double sum = 0;
    for (const double value : sorted) sum += value;
    const std::vector<std::pair<const char*, double>> values = {{"p50", percentile(sorted, 0.50)},
                                                                {"p95", percentile(sorted, 0.95)},
                                                                {"p99", percentile(sorted, 0.99)},
                                                                {"max", sorted.back()},
                                                                {"mean", sum / static_cast<double>(sorted.size())}};
    std::vector<std::string> cells = {stage};
    for (const auto& [name, value] : values) {
      cells.push_back(duration(value));
      out["latency_ms"][stage][name] = value;
    }
    table.add(cells, stage == "total" ? Style::strong : Style::plain);
  }
  output.text("");
  output.table(table);
  return out;
}

Json report_linears(int steps, const std::vector<OpRecord>& groups, double peak, const Output& output) {
  Json out = Json::array();
  Table table({"linear", "stage", "rows", "in", "out", "calls", "time", "rate", "of peak"}, {1});
  OpRecord all;
  const auto print = [&](std::vector<std::string> cells, const OpRecord& record, Style style) {
    const double rate = record.milliseconds > 0 ? record.flops / record.milliseconds * 1e3 : 0;
    for (const std::string& cell :
         {duration(record.milliseconds), scaled(rate, "FLOP/s"), number(100 * rate / peak, 3) + " %"})
      cells.push_back(cell);
    table.add(cells, style);
    return rate / peak;
  };
  for (const OpRecord& sum : groups) {
    Json entry = {{"name", sum.name},       {"stage", sum.stage},     {"rows", sum.rows},
                  {"inputs", sum.inputs},   {"outputs", sum.outputs}, {"calls", sum.calls},
                  {"ms", sum.milliseconds}, {"flops", sum.flops},     {"bytes", sum.bytes}};
    std::vector<std::string> cells = {shortened(sum.name), sum.stage};
    for (const char* field : {"rows", "inputs", "outputs", "calls"}) cells.push_back(entry[field].dump());
    entry["share_of_peak"] = print(cells, sum, Style::plain);
    out.push_back(entry);
    add(all, sum);
  }
  print({"all", "", "", "", "", ""}, all, Style::strong);
  output.text("\nlinears of one call with " + std::to_string(steps) + " steps; peak: " + scaled(peak, "FLOP/s"));
  output.table(table);
  return out;
}

Json machine() {
  utsname name{};
  uname(&name);
  Json out = {{"system", std::string(name.sysname) + " " + name.release}, {"architecture", name.machine}};
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    out["processor"] = line.substr(std::min(line.size(), line.find(':') + 2));
    break;
  }
  return out;
}

int bench(const BenchOptions& options, const Output& output) {
  LoadOptions load = options.policy.load_options(output.progress());
  if (!options.inputs.empty()) {
    const Inputs inputs = Inputs::load(options.inputs);
    load.limits = {inputs.images.shape.at(0), inputs.images.shape.at(1), inputs.images.shape.at(2),
                   inputs.tokens.shape.at(1)};
  }
  Policy policy = Policy::load(options.policy.checkpoint, load);
  const PolicyInfo& info = policy.info();
  Json document = {{"nervus", version()},
                   {"commit", build_commit},
                   {"compiler", __VERSION__},
                   {"machine", machine()},
                   {"checkpoint", options.policy.checkpoint},
                   {"device", info.device},
                   {"precision", name_of(info.precision)},
                   {"threads", options.policy.threads},
                   {"warmup", options.warmup},
                   {"runs", options.runs},
                   {"weight_bytes", info.weight_bytes},
                   {"workspace_bytes", info.workspace_bytes}};
  document["inputs"] = {{"batch", info.limits.batch},
                        {"views", info.limits.views},
                        {"patches", info.limits.patches},
                        {"text_tokens", info.limits.text_tokens}};
  output.text(info.family + ", " + name_of(info.precision) + ", " + info.device + ": " + std::to_string(options.runs) +
              " runs after " + std::to_string(options.warmup) + " to warm up");
  for (const int steps : info.steps)
    document["results"].push_back(report_latency(steps, measure(policy, steps, options, output.progress()), output));
  document["peak_flops"] = measure_peaks(load).flops;
  for (std::size_t i = 0; i < info.steps.size(); ++i)
    document["results"][i]["linears"] = report_linears(info.steps[i], profile_linears(policy, info.steps[i], options),
                                                       document["peak_flops"].get<double>(), output);
  output.document(document);
  return 0;
}

}  // namespace

Command add_bench(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<BenchOptions>();
  add_checkpoint(verb, options->policy.checkpoint);
  add_option(verb, "--inputs", options->inputs, "PATH",
             "Tensors of the call, as of 'nervus run', with new noise in each run (default: all random, as large as "
             "the checkpoint's limits, new in each run)");
  add_steps(verb, options->policy);
  add_device(verb, options->policy);
  add_option(verb, "--warmup", options->warmup, "N", "Runs before the measured ones")
      .check(integer_between(0, 1000000));
  add_option(verb, "--runs", options->runs, "N", "Measured runs").check(integer_between(1, 1000000));
  add_seed(verb, options->seed, "Seed of the first run's random inputs; the next runs count on");
  verb.footer(
      "Latencies are in milliseconds; a percentile is the least sample that so many do not exceed. The linears are\n"
      "timed one by one, the fastest of up to five calls; peak is a large square matrix product on the same threads.\n"
      "\nExample:\n  nervus bench --checkpoint lingbot-vla-4b --precision bf16 --steps 10 --runs 200 --json\n");
  return [options, &output] { return bench(*options, output); };
}

}  // namespace nervus::cli
