// Calls that take turns.
#include <algorithm>
#include <charconv>
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
  inputs.images = fill({limits.batch, limits.views, limits.patches, info.patch_values});
  inputs.state = fill({limits.batch, info.state_dimensions});
  inputs.image_mask = Array(DType::boolean, {limits.batch, limits.views});
  inputs.tokens = Array(DType::i64, {limits.batch, limits.text_tokens});
  inputs.token_mask = Array(DType::boolean, inputs.tokens.shape);
  std::fill(inputs.image_mask.bytes.begin(), inputs.image_mask.bytes.end(), std::byte{1});
  const std::int64_t valid = options.text > 0 ? options.text : limits.text_tokens;
  for (std::int64_t i = 0; i < inputs.tokens.count(); ++i)
    inputs.token_mask.data<std::uint8_t>()[i] = i % limits.text_tokens < valid;
  const auto words = static_cast<std::uint64_t>(std::min<std::int64_t>(info.vocabulary, 100));
  std::generate_n(inputs.tokens.data<std::int64_t>(), inputs.tokens.count(),
                  [&] { return static_cast<std::int64_t>(random() % words); });
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
      if (options.pixels) all.push_back({.contender = c, .steps = steps, .images = Images::pixels});
      if (options.kept) all.push_back({.contender = c, .steps = steps, .kept = true});  // of the call before it
      if (!options.frames.empty()) all.push_back({.contender = c, .steps = steps, .images = Images::frames});
    }
  return all;
}

Array random_pixels(const BenchOptions& options, const PolicyInfo& info, std::uint64_t seed) {
  Array pixels(DType::u8, {options.batch, info.limits.views, info.image_side, info.image_side, 3});
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  for (std::byte& level : pixels.bytes) level = static_cast<std::byte>(random());
  return pixels;
}

// Of each sample: frames of every camera, an instruction and a state.
std::vector<Observation> random_observations(const BenchOptions& options, const PolicyInfo& info, std::uint64_t seed) {
  if (options.frames.empty()) return {};
  const auto [width, height] = frame_size(options.frames);
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  std::uniform_real_distribution<float> angle(-0.5f, 0.5f);
  std::vector<Observation> observations(static_cast<std::size_t>(options.batch));
  for (Observation& observation : observations) {
    observation.prompt = "pick up the red cube and put it on the plate";
    observation.state.resize(static_cast<std::size_t>(info.state_dimensions));
    for (float& joint : observation.state) joint = angle(random);
    for (const std::string& camera : info.cameras) {
      Image& frame = observation.images[camera];
      frame = {width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
      for (std::uint8_t& level : frame.rgb) level = static_cast<std::uint8_t>(random());
    }
  }
  return observations;
}

ActionChunk infer_all(Policy& policy, const std::vector<Observation>& observations, const InferOptions& infer) {
  if (observations.size() == 1) return policy.infer(observations.front(), infer);
  return policy.infer_batch(observations, std::vector<InferOptions>(observations.size(), infer)).front();
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

std::pair<int, int> frame_size(const std::string& frames) {
  const auto wrong = [&]() -> Error {
    return {ErrorKind::usage,
            "--frames: expected WIDTHxHEIGHT of 1 to 8192 pixels each, such as 640x480, found '" + frames + "'"};
  };
  const auto number = [&](const std::string& text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > 8192) throw wrong();
    return value;
  };
  const std::size_t between = frames.find('x');
  if (between == std::string::npos) throw wrong();
  return {number(frames.substr(0, between)), number(frames.substr(between + 1))};
}

std::vector<Series> measure(std::vector<Contender>& contenders, const BenchOptions& options, const Output& output) {
  constexpr std::uint64_t other_noise = std::uint64_t{1} << 32;
  const int warmup = options.warmup_rounds(), runs = options.measured_rounds();
  const ProgressFunction progress = output.progress();
  std::vector<Series> all = series_of(contenders, options);
  for (int round = 0; round < warmup + runs; ++round) {
    const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(round);
    Inputs inputs = inputs_of(options, contenders.front().policy.info(), seed);
    Array pixels = options.pixels ? random_pixels(options, contenders.front().policy.info(), seed) : Array();
    const std::vector<Observation> observations = random_observations(options, contenders.front().policy.info(), seed);
    for (Series& series : all) {
      const InferOptions infer{
          .steps = series.steps, .seed = series.kept ? seed + other_noise : seed, .keep_prefix = series.kept};
      Policy& policy = contenders[series.contender].policy;
      if (series.images == Images::pixels) std::swap(inputs.images, pixels);
      const ActionChunk chunk =
          series.images == Images::frames ? infer_all(policy, observations, infer) : policy.infer(inputs, infer);
      if (series.images == Images::pixels) std::swap(inputs.images, pixels);
      if (round >= warmup) add_sample(series, chunk);
    }
    if (progress) progress(round + 1, warmup + runs, round < warmup ? "warming up" : "measuring");
  }
  for (Series& series : all)
    for (auto& [stage, milliseconds] : series.samples) std::sort(milliseconds.begin(), milliseconds.end());
  return all;
}

}  // namespace nervus::cli
