// nervus bench: latency of the whole call and of each stage, what they reach of the device's peaks, and how far the
// answers are from a reference's; several precisions, attentions and step counts in one run.
#include "cli/bench.h"

#include <sys/utsname.h>

#include <algorithm>
#include <fstream>

#include "build_commit.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

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

void check_once(const char* option, const std::vector<std::string>& values) {
  for (const std::string& value : values)
    if (std::ranges::count(values, value) > 1)
      throw Error(ErrorKind::usage, std::string(option) + ": " + value + " is given twice");
}

void check_usage(const BenchOptions& options) {
  check_once("--precision", options.precisions);
  check_once("--attention", options.attentions);
  const bool others = options.pixels || !options.frames.empty();
  if (!options.inputs.empty() && (options.text > 0 || options.batch > 1 || options.max_batch > 0 || others))
    throw Error(ErrorKind::usage,
                "--inputs says what the tensors are: it excludes --text, --batch, --max-batch, --pixels and --frames");
  if (options.max_batch > 0 && options.max_batch < options.batch)
    throw Error(ErrorKind::usage, "--max-batch: expected at least --batch (" + std::to_string(options.batch) +
                                      "), found " + std::to_string(options.max_batch));
  if (!options.frames.empty()) frame_size(options.frames);
  if (!options.reference.empty() && !options.reference_precision.empty())
    throw Error(ErrorKind::usage, "--reference and --reference-precision exclude each other");
  if (options.reference_precision.empty() && !(options.reference_out.empty() && options.reference_device.empty()))
    throw Error(ErrorKind::usage, "--reference-out and --reference-device go with --reference-precision");
  if (!options.reference_out.empty()) {
    if (std::filesystem::path(options.reference_out).extension() != ".safetensors")
      throw Error(ErrorKind::usage,
                  "--reference-out: " + options.reference_out + ": expected a name ending in .safetensors");
    expect_output(options.reference_out);
  }
}

std::vector<Contender> load_contenders(const BenchOptions& options, const Output& output) {
  std::vector<Contender> contenders;
  for (const std::string& precision : options.precisions)
    for (const std::string& attention : options.attentions) {
      const LoadOptions load = load_options_of(options, precision, attention, output.progress());
      contenders.push_back({precision, attention, load, Policy::load(options.policy.checkpoint, load)});
    }
  return contenders;
}

// Each op of a call, timed; on a CPU the fastest of a few calls, which is the one least disturbed.
std::vector<OpRecord> profile(Contender& contender, int steps, const BenchOptions& options) {
  const Inputs inputs = inputs_of(options, contender.policy.info(), options.seed);
  const InferOptions infer{.steps = steps, .seed = options.seed};
  std::vector<OpRecord> records = contender.policy.profile(inputs, infer);
  const int repeats = options.on_cpu() ? std::clamp(options.runs, 1, 5) : 1;
  for (int repeat = 1; repeat < repeats; ++repeat) {
    const std::vector<OpRecord> again = contender.policy.profile(inputs, infer);
    for (std::size_t i = 0; i < records.size(); ++i)
      records[i].milliseconds = std::min(records[i].milliseconds, again.at(i).milliseconds);
  }
  return records;
}

Json begin_document(const BenchOptions& options, const PolicyInfo& info) {
  Json document = {{"nervus", version()},
                   {"commit", build_commit},
                   {"compiler", __VERSION__},
                   {"machine", machine()},
                   {"checkpoint", options.policy.checkpoint},
                   {"device", info.device},
                   {"threads", options.policy.threads}};
  document["inputs"] = {{"batch", options.inputs.empty() ? options.batch : info.limits.batch},
                        {"max_batch", info.limits.batch},
                        {"views", info.limits.views},
                        {"patches", info.limits.patches},
                        {"text_tokens", info.limits.text_tokens},
                        {"fresh", options.inputs.empty() ? "inputs and noise" : "noise"}};
  if (options.inputs.empty())
    document["inputs"]["valid_tokens"] = options.text > 0 ? options.text : info.limits.text_tokens;
  return document;
}

// A figure of a GPU says little without the clocks that it was measured at.
void check_clocks(const BenchOptions& options) {
  if (options.on_cpu() || options.without_clocks) return;
  const std::string unknown = device_state(options.policy.device).unknown;
  if (!unknown.empty())
    throw Error(ErrorKind::unsupported, "clocks and driver: expected to find them, found " + unknown +
                                            ": install the driver's NVML, or add --without-clocks");
}

int bench(const BenchOptions& given, const Output& output) {
  BenchOptions options = given;
  check_usage(options);
  check_clocks(options);
  if (options.precisions.empty()) options.precisions = {name_of(LoadOptions{}.precision)};
  if (options.attentions.empty()) options.attentions = {name_of(LoadOptions{}.attention)};
  Reference reference;
  if (!options.reference.empty() || !options.reference_precision.empty()) reference = make_reference(options, output);
  std::vector<Contender> contenders = load_contenders(options, output);
  const PolicyInfo& info = contenders.front().policy.info();
  Json document = begin_document(options, info);
  std::vector<Json> accuracy(contenders.size());
  output.text(info.family + ", " + info.device);
  if (!reference.empty())
    for (std::size_t c = 0; c < contenders.size(); ++c)
      accuracy[c] = compare_with(reference, contenders[c], options, output);
  const std::vector<Series> all = measure(contenders, options, output);
  document["warmup"] = options.warmup_rounds();
  document["runs"] = all.front().samples.front().second.size();
  document["device_state"] = report_state(device_state(options.policy.device), output);
  std::vector<DevicePeaks> peaks;
  for (std::size_t c = 0; c < contenders.size(); ++c) {
    const bool known = c > 0 && contenders[c].precision == contenders[c - 1].precision;
    peaks.push_back(known ? peaks.back() : measure_peaks(contenders[c].load));
    document["policies"].push_back(report_policy(contenders[c], peaks.back(), output));
    if (!accuracy[c].is_null()) document["policies"].back()["accuracy"] = accuracy[c];
  }
  for (const Series& series : all) {
    Contender& contender = contenders[series.contender];
    Json result = report_latency(series, contender, options, output);
    if (series.images != Images::frames) {  // whose instruction has other rows than the tensors that are profiled
      const std::vector<OpRecord> records = profile(contender, series.steps, options);
      result["peaks"] = report_peaks(series, records, peaks[series.contender], output);
      if (options.on_cpu() && !series.kept && series.images == Images::patches)
        result["linears"] = report_linears(series, records, peaks[series.contender].flops, output);
    }
    document["results"].push_back(result);
  }
  output.document(document);
  return 0;
}

void add_reference(CLI::App& verb, BenchOptions& options) {
  add_option(verb, "--reference-precision", options.reference_precision, "f32|bf16",
             "Also say how far the answers are from this precision's, stage by stage and joint by joint, over several "
             "seeds; it is loaded first and leaves before the others come");
  add_option(verb, "--reference-device", options.reference_device, "NAME",
             "Where the reference computes (default: as --device)");
  add_option(verb, "--reference-seeds", options.reference_seeds, "N", "Seeds of inputs and noise, from --seed on")
      .check(integer_between(1, 1000))
      ->needs("--reference-precision");
  add_option(verb, "--reference-out", options.reference_out, "FILE",
             "Write the reference, a .safetensors, for --reference");
  add_option(verb, "--reference", options.reference, "FILE",
             "Compare with this one: of --reference-out, or of 'nervus run --out' with the same --inputs and --seed");
}

}  // namespace

Command add_bench(CLI::App& verb, const Output& output) {
  const auto options = std::make_shared<BenchOptions>();
  add_checkpoint(verb, options->policy.checkpoint);
  add_option(verb, "--inputs", options->inputs, "PATH",
             "Tensors of the call, as of 'nervus run', with new noise in each run (default: all random, as large as "
             "the checkpoint's limits, new in each run)");
  add_option(verb, "--batch", options->batch, "N", "Samples of a call").check(integer_between(1, 256));
  add_option(verb, "--max-batch", options->max_batch, "N", "Load for calls of so many samples (default: --batch)")
      .check(integer_between(1, 256));
  add_option(verb, "--text", options->text, "N", "Text tokens that count; 0: all").check(integer_between(0, 4096));
  add_steps(verb, options->policy);
  add_device(verb, options->policy, options->precisions, options->attentions);
  verb.add_flag("--pixels", options->pixels,
                "Also calls whose images are RGB bytes, as cameras give them, of which the device makes the patches");
  add_option(verb, "--frames", options->frames, "WxH",
             "Also calls of an observation, whose preprocessing counts: of each camera a frame of that size, such as "
             "640x480, an instruction and a state");
  verb.add_flag("--kept-prefix", options->kept, "Also calls whose images and text are those of the call before");
  const auto add_rounds = [&verb](const char* name, int& value, std::uint64_t least, const char* text) {
    verb.add_option(name, value, text)->type_name("N")->check(integer_between(least, 1000000));
  };
  add_rounds("--warmup", options->warmup, 0, "Rounds before the measured ones (default: 3; 300 on a GPU)");
  add_rounds("--runs", options->runs, 1, "Measured rounds (default: 50; 500 on a GPU)");
  verb.add_flag("--without-clocks", options->without_clocks,
                "Measure a GPU whose clocks and driver cannot be asked for");
  add_seed(verb, options->seed, "Seed of the first round's random inputs; the next rounds count on");
  add_reference(verb, *options);
  verb.footer(
      "Every precision with every attention is one policy; all are loaded, and their calls of every step count take\n"
      "turns. A percentile is the least sample that so many do not exceed. The peaks of the device are those of a "
      "large\n"
      "matrix product and of a copy or sum in its memory; a floor is what the linears need at these. On a CPU the\n"
      "linears are timed one by one, the fastest of up to five calls.\n"
      "\nExample:\n  nervus bench --checkpoint lingbot-vla-4b --device cuda:0 --precision bf16 --steps 10 25 --text 50 "
      "--json\n");
  return [options, &output] { return bench(*options, output); };
}

}  // namespace nervus::cli
