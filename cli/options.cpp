#include "cli/options.h"

#include <algorithm>
#include <limits>

#include "cli/interrupt.h"
#include "cli/output.h"
#include "nervus/array_file.h"
#include "nervus/error.h"

namespace nervus::cli {

LoadOptions PolicyOptions::load_options(ProgressFunction progress) const {
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (std::count(steps.begin(), steps.end(), steps[i]) > 1)
      throw Error(ErrorKind::usage, "--steps: " + std::to_string(steps[i]) + " is given twice");
  if (!plan.empty()) expect_output(plan);
  LoadOptions load;
  load.device = device;
  load.precision = precision_from(precision);
  load.recipe = recipe;
  load.calibration = calibration;
  load.attention = attention_from(attention);
  load.plan = plan;
  load.threads = threads;
  load.steps = steps;
  load.time_grid = time_grid == "exact" ? TimeGrid::exact : TimeGrid::bf16_accumulated;
  load.progress = std::move(progress);
  return load;
}

void add_checkpoint(CLI::App& verb, std::string& checkpoint) {
  add_option(verb, "--checkpoint", checkpoint, "DIR",
             "Checkpoint: config.json with model.safetensors, or with model.safetensors.index.json and its shards")
      .required();
}

void add_threads(CLI::App& verb, int& threads) {
  add_option(verb, "--threads", threads, "N", "CPU threads; 0: every core that the process may use")
      .check(integer_between(0, 1024));
}

void add_plan(CLI::App& verb, std::string& plan) {
  add_option(
      verb, "--plan", plan, "FILE",
      "Of a GPU: which kernel computes each product. What the file has is not measured, so that every load by it "
      "gives the same bits; what it lacks is measured and written into it, which makes it where there is none");
}

void add_seed(CLI::App& verb, std::uint64_t& seed, const std::string& text) {
  add_option(verb, "--seed", seed, "N", text).check(integer_between(0, std::numeric_limits<std::uint64_t>::max()));
}

namespace {

template <typename Value>
void add_device_options(CLI::App& verb, PolicyOptions& options, Value& precision, Value& attention) {
  add_option(verb, "--device", options.device, "NAME", "Where to compute");
  add_option(verb, "--precision", precision, "f32|bf16|f16|fp8|int8",
             "How weights and activations are held: f32 is exact to float32 rounding, bf16 takes half the memory and "
             "time, f16, fp8 and int8 are bf16 but for the linears that a recipe names: f16 is three bits finer and as "
             "fast, fp8 and int8 have 8 bits (f16, fp8 and int8: a GPU's)");
  add_option(
      verb, "--recipe", options.recipe, "FILE",
      "Of f16, fp8 and int8: f16, fp8, int8 (the defaults: where 8 bits cost the least accuracy), mixed (of both the "
      "fastest), fp8-all, int8-all (every block) or a .json with rules");
  add_option(verb, "--calibration", options.calibration, "FILE",
             "Of linears in f8_e4m3: the ranges of what enters each linear, as 'nervus calibrate' writes them");
  add_option(verb, "--attention", attention, "auto|fast|plain",
             "Which attention kernels: auto takes the fast ones where they have the shape, fast refuses what they "
             "lack, plain takes the one for any shape; a CPU has one alone");
  add_plan(verb, options.plan);
  add_threads(verb, options.threads);
}

}  // namespace

void add_device(CLI::App& verb, PolicyOptions& options) {
  add_device_options(verb, options, options.precision, options.attention);
}

void add_device(CLI::App& verb, PolicyOptions& options, std::vector<std::string>& precisions,
                std::vector<std::string>& attentions) {
  add_device_options(verb, options, precisions, attentions);
}

void add_steps(CLI::App& verb, PolicyOptions& options) {
  add_option(verb, "--steps", options.steps, "N...",
             "Euler steps of the flow, 1 to 1000; several counts give several results (default: the checkpoint's "
             "num_steps)")
      .check(integer_between(1, 1000));
  add_option(verb, "--time-grid", options.time_grid, "exact|bf16-accumulated",
             "Times of the steps: t = 1 - i/N exactly, or accumulated in bfloat16 as the public implementation does "
             "on a GPU");
}

CLI::Validator integer_between(std::uint64_t least, std::uint64_t most) {
  const auto check = [least, most](const std::string& text) {
    const auto value = number_of<std::uint64_t>(text);
    const bool octal = text.size() > 1 && text.front() == '0';  // to CLI11, which reads it behind this check
    if (value && !octal && *value >= least && *value <= most) return std::string();
    return "expected an integer from " + std::to_string(least) + " to " + std::to_string(most) + ", found '" + text +
           "'";
  };
  return CLI::Validator(check, "");
}

void set_type(CLI::Option& option, const std::string& type) {
  option.type_name(type);
  if (type.find('|') == std::string::npos) return;
  const std::vector<std::string> words = CLI::detail::split(type, '|');
  const auto check = [words](const std::string& text) {
    if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
    return "expected " + listed(words, "or") + ", found '" + text + "'" + did_you_mean(text, words);
  };
  option.check(CLI::Validator(check, ""));
}

Array read_one_array(const std::filesystem::path& path, const std::string& name) {
  auto arrays = read_arrays(path);
  if (arrays.size() == 1) return std::move(arrays.begin()->second);
  const auto found = arrays.find(name);
  if (found != arrays.end()) return std::move(found->second);
  throw Error(ErrorKind::input, path.string() + ": expected one array or one named '" + name + "', found " +
                                    std::to_string(arrays.size()) + " others");
}

}  // namespace nervus::cli
