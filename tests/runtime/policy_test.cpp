#include "nervus/policy.h"

#include <doctest/doctest.h>

#include <cmath>

#include "runtime/engine.h"
#include "runtime/observation_inputs.h"
#include "runtime/support.h"

using namespace nervus;

namespace {

Image gradient(int width, int height, int seed) {
  Image image{width, height, {}};
  for (int i = 0; i < width * height * 3; ++i)
    image.rgb.push_back(static_cast<std::uint8_t>((i * 7 + i / 97 + seed) % 251));
  return image;
}

Observation observation() {
  return {.images = {{"cam_high", gradient(320, 240, 1)}, {"cam_right_wrist", gradient(224, 224, 2)}},
          .state = std::vector<float>(14, 0.25f),
          .prompt = "pick up the red cube"};
}

Policy load_tiny(Precision precision, int threads) {
  return Policy::load(test::tiny(), {.precision = precision, .threads = threads, .steps = {3, 5}, .robot = "aloha"});
}

}  // namespace

TEST_CASE("an observation becomes a chunk of finite actions with names, units and timings") {
  Policy policy = load_tiny(Precision::f32, 2);
  const ActionChunk chunk = policy.infer(observation(), {.seed = 7});
  CHECK(chunk.steps == 50);
  CHECK(chunk.dimensions == 14);
  CHECK(chunk.values.size() == 700);
  CHECK(chunk.names.size() == 14);
  CHECK(chunk.units.size() == 14);
  for (const float value : chunk.values) CHECK(std::isfinite(value));
  for (const char* stage : {"preprocess", "vision", "prefix", "denoise", "postprocess", "total"}) {
    CHECK(chunk.timing.contains(stage));
  }
  CHECK(policy.info().family == "lingbot-vla");
  CHECK(policy.info().steps == std::vector<int>{3, 5});
  CHECK(policy.info().weight_bytes > 1'000'000);
  CHECK(policy.info().workspace_bytes > 1'000'000);
}

TEST_CASE("images are the same whichever threads resized them, and the first that is wrong is named") {
  const Checkpoint checkpoint = Checkpoint::open(test::tiny());
  const Fields config = checkpoint.config_fields();
  const ModelShape shape = family_of(config, &checkpoint).describe(config, &checkpoint).shape;
  Observation wrong = observation();
  wrong.images["cam_right_wrist"].rgb.pop_back();
  Observation other = observation();
  other.images["cam_left_wrist"] = gradient(100, 70, 3);
  const std::vector<Observation> good = {observation(), other, observation()}, bad = {observation(), wrong, wrong};
  std::vector<std::byte> first;
  for (const int threads : {1, 2, 8}) {
    Crew crew(threads);
    const ObservationInputs inputs(checkpoint, shape, complete_limits({}, shape), {.robot = "aloha"}, crew);
    const Array images = inputs.preprocess(good, false).images;
    if (threads == 1) first = images.bytes;
    CHECK(images.bytes == first);
    CHECK_THROWS_WITH_AS(inputs.preprocess(bad, false),
                         "observations[1]: camera 'cam_right_wrist': expected width x height x 3 bytes, found 224 x "
                         "224 and 150527 bytes",
                         Error);
  }
}

TEST_CASE("one seed gives the same bytes, whatever the threads; another seed, other actions") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 4}) {
      Policy policy = load_tiny(precision, threads);
      const std::vector<float> values = policy.infer(observation(), {.seed = 7}).values;
      if (first.empty()) first = values;
      CHECK(values == first);
      CHECK(policy.infer(observation(), {.seed = 7}).values == first);
      CHECK(policy.infer(observation(), {.seed = 8}).values != first);
      CHECK(policy.infer(observation(), {.steps = 5, .seed = 7}).values != first);
    }
  }
}

TEST_CASE("a batch of observations: to each the bytes that it gets alone, in any order and company") {
  Observation other = observation(), third = observation();
  other.images = {{"cam_left_wrist", gradient(64, 48, 3)}};
  other.prompt = "open the drawer, then put the blue cup in it";
  third.state[3] = -0.5f;
  const std::vector<Observation> all = {observation(), other, third};
  const std::vector<InferOptions> options = {{.steps = 5, .seed = 7}, {.steps = 5, .seed = 7}, {.steps = 5, .seed = 9}};
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    Policy policy = Policy::load(test::tiny(), {.precision = precision,
                                                .threads = 2,
                                                .steps = {3, 5},
                                                .limits = {.batch = 3},
                                                .robot = "aloha",
                                                .norm_stats = NERVUS_SOURCE_DIR "/examples/aloha/norm_stats.json"});
    std::vector<std::vector<float>> alone;
    for (std::size_t i = 0; i < all.size(); ++i) alone.push_back(policy.infer(all[i], options[i]).values);
    CHECK(alone[0] != alone[1]);
    CHECK(alone[0] != alone[2]);
    for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1, 2}, {2, 0}, {1}, {1, 1, 0}}) {
      std::vector<Observation> observations;
      std::vector<InferOptions> chosen;
      for (const std::size_t i : order) {
        observations.push_back(all[i]);
        chosen.push_back(options[i]);
      }
      const std::vector<ActionChunk> chunks = policy.infer_batch(observations, chosen);
      REQUIRE(chunks.size() == order.size());
      for (std::size_t k = 0; k < order.size(); ++k) {
        CHECK(chunks[k].values == alone[order[k]]);
        CHECK(chunks[k].batch == 1);
        CHECK(chunks[k].dimensions == 14);
        CHECK(chunks[k].names.size() == 14);
        CHECK(chunks[k].timing.at("total") > 0);
      }
    }
  }
}

TEST_CASE("a batch that cannot be: what is wrong is named") {
  Policy policy = Policy::load(test::tiny(), {.threads = 2, .limits = {.batch = 2}, .robot = "aloha"});
  std::vector<Observation> two(2, observation());
  const std::vector<InferOptions> options(2);
  const auto message = [&](std::span<const Observation> observations, std::span<const InferOptions> chosen) {
    return test::error_of([&] { policy.infer_batch(observations, chosen); }).second;
  };
  CHECK(message({}, {}) == "observations: expected 1 to 2, found 0: raise LoadOptions::limits.batch");
  const std::vector<Observation> three(3, observation());
  CHECK(message(three, std::vector<InferOptions>(3)).starts_with("observations: expected 1 to 2, found 3"));
  CHECK(message(two, std::span(options).first(1)) == "options: expected one an observation, 2, found 1");
  for (const InferOptions& wrong : {InferOptions{.steps = 3}, InferOptions{.keep_prefix = true},
                                    InferOptions{.noise = Array::from(std::vector<float>{1}, {1, 1, 1})}})
    CHECK(message(two, std::vector<InferOptions>{{}, wrong}) ==
          "options of a batch: expected the same steps, no kept prefix and no noise");
  two[1].state.pop_back();
  CHECK(message(two, options).starts_with("observations[1]: state"));
}

TEST_CASE("padding changes nothing: longer limits, more text padding, views that are not there") {
  const Inputs inputs = test::golden_inputs("base");
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    Policy tight = test::load_golden("base", precision, 2, test::limits_of(inputs));
    const std::vector<float> expected = tight.infer(inputs).values;

    Limits wide = test::limits_of(inputs);
    wide.batch = 2;
    wide.views = 5;
    wide.text_tokens = 40;
    Policy loose = test::load_golden("base", precision, 2, wide);
    CHECK(loose.infer(inputs).values == expected);

    Inputs garbage = inputs;  // what stands in padding is never looked at
    const auto& mask = garbage.token_mask.data<std::uint8_t>();
    for (std::int64_t t = 0; t < garbage.tokens.count(); ++t) {
      if (!mask[t]) garbage.tokens.data<std::int64_t>()[t] = 151643;
    }
    const std::int64_t view_bytes = static_cast<std::int64_t>(garbage.images.bytes.size()) / 3;
    for (std::int64_t v = 0; v < 3; ++v) {
      if (garbage.image_mask.data<std::uint8_t>()[v]) continue;
      for (std::int64_t i = 0; i < view_bytes; ++i) garbage.images.bytes[v * view_bytes + i] = std::byte{0x3f};
    }
    CHECK(tight.infer(garbage).values == expected);

    Inputs padded = inputs;  // six more padding tokens
    padded.tokens = Array(DType::i64, {1, 22});
    padded.token_mask = Array(DType::boolean, {1, 22});
    for (std::int64_t t = 0; t < 16; ++t) {
      padded.tokens.data<std::int64_t>()[t] = inputs.tokens.data<std::int64_t>()[t];
      padded.token_mask.data<std::uint8_t>()[t] = inputs.token_mask.data<std::uint8_t>()[t];
    }
    CHECK(loose.infer(padded).values == expected);
  }
}

TEST_CASE("a call without any view or token still runs, on the state alone") {
  Inputs inputs = test::golden_inputs("causal");
  Policy policy = test::load_golden("causal", Precision::f32, 2, test::limits_of(inputs));
  const std::vector<float> with = policy.infer(inputs).values;
  inputs.image_mask = Array(DType::boolean, inputs.image_mask.shape);
  inputs.token_mask = Array(DType::boolean, inputs.token_mask.shape);
  const std::vector<float> without = policy.infer(inputs).values;
  for (const float value : without) REQUIRE(std::isfinite(value));
  CHECK(without != with);
}

TEST_CASE("a sample's actions do not depend on its batch") {
  const Inputs inputs = test::golden_inputs("joint_four_views");
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    Policy policy = test::load_golden("joint_four_views", precision, 2, test::limits_of(inputs));
    const ActionChunk batch = policy.infer(inputs);
    REQUIRE(batch.batch == 3);
    const std::size_t size = batch.values.size() / 3;
    for (std::int64_t b = 0; b < 3; ++b) {
      const std::vector<float> alone = policy.infer(test::sample(inputs, b)).values;
      const std::vector<float> together(batch.values.begin() + static_cast<std::ptrdiff_t>(b * size),
                                        batch.values.begin() + static_cast<std::ptrdiff_t>((b + 1) * size));
      CHECK(alone == together);
    }
  }
}

TEST_CASE("two policies live side by side and calls leave no trace in the next") {
  Policy one = load_tiny(Precision::f32, 2);
  Policy two = load_tiny(Precision::bf16, 1);
  const std::vector<float> first = one.infer(observation(), {.seed = 1}).values;
  Observation other = observation();
  other.images.erase("cam_right_wrist");
  other.prompt = "something much longer than the first instruction, with many more tokens";
  const std::vector<float> different = one.infer(other, {.seed = 1}).values;
  two.infer(other, {.seed = 2});
  CHECK(different != first);
  CHECK(one.infer(observation(), {.seed = 1}).values == first);
}

TEST_CASE("preprocess gives the tensors that infer uses") {
  Policy policy = load_tiny(Precision::f32, 2);
  const Inputs inputs = policy.preprocess(observation());
  CHECK(inputs.images.shape == Shape{1, 3, 256, 1176});
  CHECK(inputs.image_mask.to_float() == std::vector<float>{1, 0, 1});
  CHECK(inputs.tokens.shape == Shape{1, 72});
  CHECK(inputs.state.shape == Shape{1, 75});
  const ActionChunk raw = policy.infer(inputs, {.seed = 7});
  CHECK(raw.dimensions == 75);
  CHECK(raw.names[74] == "action_74");
}

TEST_CASE("pixels give the bytes that their patches give") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    Policy policy = load_tiny(precision, 2);
    Inputs pixels = policy.preprocess(observation()), patches = pixels;
    pixels.images = test::random_pixels(1, 3, policy.info().image_side, 3);
    patches.images = test::patches_of(pixels.images);
    const std::vector<float> expected = policy.infer(patches, {.seed = 7}).values;
    CHECK(policy.infer(pixels, {.seed = 7}).values == expected);
    pixels.images.bytes[5] ^= std::byte{0x40};
    CHECK(policy.infer(pixels, {.seed = 7}).values != expected);
  }
}

TEST_CASE("profile records every linear with its work, and changes nothing") {
  Policy policy = load_tiny(Precision::f32, 2);
  const Inputs inputs = policy.preprocess(observation());
  const std::vector<float> before = policy.infer(inputs).values;
  double flops = 0;
  std::int64_t euler_steps = 0;
  for (const OpRecord& record : policy.profile(inputs)) {
    flops += record.flops;
    if (record.op == "euler_step") euler_steps += record.calls;
    if (record.op == "linear") {
      CHECK(record.flops == doctest::Approx(2.0 * record.rows * record.inputs * record.outputs * record.calls));
    }
  }
  CHECK(euler_steps == 3);
  CHECK(flops > 1e9);
  CHECK(policy.infer(inputs).values == before);
}

TEST_CASE("the bf16 time grid gives other actions than the exact one") {
  Policy exact = Policy::load(test::tiny(), {.precision = Precision::f32, .steps = {50}});
  Policy drifting =
      Policy::load(test::tiny(), {.precision = Precision::f32, .steps = {50}, .time_grid = TimeGrid::bf16_accumulated});
  const Inputs inputs = exact.preprocess(observation());
  const std::vector<float> a = exact.infer(inputs).values, b = drifting.infer(inputs).values;
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i])));
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  CHECK(difference > 0);
  CHECK(difference < 0.2 * largest);
}
