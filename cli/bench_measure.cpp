// Calls that take turns.
#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "cli/actions.h"
#include "cli/bench.h"
#include "nervus/error.h"

namespace nervus::cli {

LoadOptions load_options_of(const BenchOptions& options, const std::string& precision, const std::string& attention,
                            ProgressFunction progress) {
  PolicyOptions policy = options.policy;
  policy.precision = precision;
  policy.attention = attention;
  if (precision == name_of(Precision::f32) || precision == name_of(Precision::bf16)) {
    policy.recipe.clear();  // those of the precisions beside it
    policy.calibration.clear();
  }
  LoadOptions load = policy.load_options(std::move(progress));
  load.limits.batch = std::max(options.batch, options.max_batch);
  if (!options.inputs.empty()) load.limits = Inputs::load(options.inputs).limits();
  return load;
}

Inputs inputs_of(const BenchOptions& options, const PolicyInfo& info, std::uint64_t seed) {
  Inputs inputs;
  if (!options.inputs.empty()) {
    inputs = Inputs::load(options.inputs);
    inputs.noise = Array();
    return inputs;
  }
  Limits limits = info.limits;
  limits.batch = options.batch;
  if (options.text > limits.text_tokens)
    throw Error(ErrorKind::usage, "--text: expected at most " + std::to_string(limits.text_tokens) +
                                      ", the checkpoint's tokenizer_max_length, found " + std::to_string(options.text));
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto fill = [&](Shape shape) {
    Array array(DType::f32, std::move(shape));
    std::generate_n(array.data<float>(), array.count(), [&] { return normal(random); });
    return array;
  };
  inputs.images = fill({limits.batch, limits.views, limits.patches, 1176});
  inputs.state = fill({limits.batch, info.state_dimensions});
  inputs.image_mask = Array(DType::boolean, {limits.batch, limits.views});
  inputs.tokens = Array(DType::i64, {limits.batch, limits.text_tokens});
  inputs.token_mask = Array(DType::boolean, inputs.tokens.shape);
  std::fill(inputs.image_mask.bytes.begin(), inputs.image_mask.bytes.end(), std::byte{1});
  const std::int64_t valid = options.text > 0 ? options.text : limits.text_tokens;
  for (std::int64_t i = 0; i < inputs.tokens.count(); ++i)
    inputs.token_mask.data<std::uint8_t>()[i] = i % limits.text_tokens < valid;
  std::generate_n(inputs.tokens.data<std::int64_t>(), inputs.tokens.count(),
                  [&] { return static_cast<std::int64_t>(random() % 100); });
  return inputs;
}

double percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

namespace {

std::vector<Series> series_of(const std::vector<Contender>& contenders, const BenchOptions& options) {
  std::vector<Series> all;
  for (const int steps : contenders.front().policy.info().steps)
    for (std::size_t c = 0; c < contenders.size(); ++c) {
      all.push_back({.contender = c, .steps = steps});
      if (options.pixels) all.push_back({.contender = c, .steps = steps, .pixels = true});
      if (options.kept) all.push_back({.contender = c, .steps = steps, .kept = true});  // of the call before it
    }
  return all;
}

Array random_pixels(const BenchOptions& options, const PolicyInfo& info, std::uint64_t seed) {
  Array pixels(DType::u8, {options.batch, info.limits.views, info.image_side, info.image_side, 3});
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  for (std::byte& level : pixels.bytes) level = static_cast<std::byte>(random());
  return pixels;
}

void add_sample(Series& series, const ActionChunk& chunk) {
  const auto stages = stages_of(chunk);
  series.samples.resize(stages.size());
  for (std::size_t i = 0; i < stages.size(); ++i) {
    series.samples[i].first = stages[i].first;
    series.samples[i].second.push_back(stages[i].second);
  }
}

}  // namespace

std::vector<Series> measure(std::vector<Contender>& contenders, const BenchOptions& options, const Output& output) {
  constexpr std::uint64_t other_noise = std::uint64_t{1} << 32;
  const int warmup = options.warmup_rounds(), runs = options.measured_rounds();
  const ProgressFunction progress = output.progress();
  std::vector<Series> all = series_of(contenders, options);
  for (int round = 0; round < warmup + runs; ++round) {
    const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(round);
    Inputs inputs = inputs_of(options, contenders.front().policy.info(), seed);
    Array pixels = options.pixels ? random_pixels(options, contenders.front().policy.info(), seed) : Array();
    for (Series& series : all) {
      const InferOptions infer{
          .steps = series.steps, .seed = series.kept ? seed + other_noise : seed, .keep_prefix = series.kept};
      if (series.pixels) std::swap(inputs.images, pixels);
      const ActionChunk chunk = contenders[series.contender].policy.infer(inputs, infer);
      if (series.pixels) std::swap(inputs.images, pixels);
      if (round >= warmup) add_sample(series, chunk);
    }
    if (progress) progress(round + 1, warmup + runs, round < warmup ? "warming up" : "measuring");
  }
  for (Series& series : all)
    for (auto& [stage, milliseconds] : series.samples) std::sort(milliseconds.begin(), milliseconds.end());
  return all;
}

}  // namespace nervus::cli
