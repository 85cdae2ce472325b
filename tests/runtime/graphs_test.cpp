#include "runtime/graphs.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "runtime/engine.h"
#include "runtime/graph_device.h"
#include "runtime/support.h"

using namespace nervus;

namespace {

std::vector<float> infer(Engine& engine, const Inputs& inputs, const InferOptions& options = {}) {
  engine.upload(inputs, options);
  engine.run(engine.schedule_of(options.steps), options.keep_prefix);
  return engine.actions().to_float();
}

// An engine over graphs that hold addresses and extents.
struct Captured {
  Captured(const std::string& name, Precision precision, const Limits& limits, const std::vector<int>& steps = {4},
           std::int64_t fused_rows = 0) {
    auto owned = std::make_unique<test::GraphDevice>(make_cpu_device(precision, 2), 8, fused_rows);
    device = owned.get();
    engine =
        std::make_unique<Engine>(test::golden(name), LoadOptions{.steps = steps, .limits = limits}, std::move(owned));
    device->seal();
  }
  test::GraphDevice* device = nullptr;
  std::unique_ptr<Engine> engine;
};

// `inputs` without the first view of the first sample, and without the last `tokens` tokens of every text.
Inputs shortened(Inputs inputs, std::int64_t tokens) {
  inputs.image_mask.data<std::uint8_t>()[0] = 0;
  const std::int64_t text = inputs.tokens.shape[1];
  for (std::int64_t t = 0; t < inputs.tokens.count(); ++t) {
    if (t % text >= text - tokens) inputs.token_mask.data<std::uint8_t>()[t] = 0;
  }
  return inputs;
}

}  // namespace

TEST_CASE("graphs give the actions of the stages themselves, to the last bit, in any order of calls") {
  for (const char* name :
       {"base", "causal", "depth", "depth_causal_batch", "gated_batch", "joint_four_views", "odd_one_view"}) {
    const Inputs inputs = test::golden_inputs(name);
    Inputs nothing = shortened(inputs, inputs.tokens.shape[1]);
    nothing.image_mask = Array(DType::boolean, inputs.image_mask.shape);
    const std::vector<Inputs> calls = {inputs, shortened(inputs, 3), nothing, test::sample(inputs, 0), inputs};
    Limits limits = test::limits_of(inputs);
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      Policy plain = test::load_golden(name, precision, 2, limits);
      Captured captured(name, precision, limits);
      for (const Inputs& call : calls) CHECK(infer(*captured.engine, call) == plain.infer(call).values);
    }
  }
}

TEST_CASE("a call launches three graphs and waits once; one without views or text launches fewer") {
  const Inputs inputs = test::golden_inputs("base");
  Captured captured("base", Precision::f32, test::limits_of(inputs));
  const auto launches = [&](const Inputs& call, const InferOptions& options = {}) {
    captured.device->launches = captured.device->downloads = 0;
    infer(*captured.engine, call, options);
    CHECK(captured.device->downloads == 1);
    return captured.device->launches;
  };
  CHECK(launches(inputs) == 3);
  CHECK(launches(inputs, {.keep_prefix = true}) == 1);
  Inputs blind = inputs;
  blind.image_mask = Array(DType::boolean, inputs.image_mask.shape);
  CHECK(launches(blind) == 2);
  blind.token_mask = Array(DType::boolean, inputs.token_mask.shape);
  CHECK(launches(blind) == 1);
}

TEST_CASE("one graph for each extent and step count, no more than forty steps of any extent") {
  const Inputs inputs = test::golden_inputs("base");
  Limits limits = test::limits_of(inputs);
  const std::int64_t rows = limits.views * limits.patches / 4 + limits.text_tokens;
  Captured captured("base", Precision::f32, limits, {2, 3});
  CHECK(static_cast<std::int64_t>(captured.engine->graphs()) == limits.views + (rows + 7) / 8 + 2);
  Policy plain = test::load_golden("base", Precision::f32, 1, limits);
  CHECK(plain.info().graphs == 3);

  const CallShapes many({.views = 100, .prefix_rows = 1000, .batch = 64}, 8);
  CHECK(many.views().size() == 34);
  CHECK(many.prefix_rows().size() == 32);
  CHECK(many.prefix_rows()[0] == 32);
  CHECK(many.prefix_rows().back() == 1000);
  CHECK(many.batch().size() == 32);
  const CallShape rounded = many.rounded({.views = 4, .prefix_rows = 993, .batch = 64});
  CHECK(rounded.views == 6);
  CHECK(rounded.prefix_rows == 1000);
  CHECK(rounded.batch == 64);
  CHECK(many.rounded({}).prefix_rows == 0);
}

TEST_CASE("where a device fuses few rows alone, a few samples are computed by linears of their own") {
  const std::int64_t rows = 51;                       // of a sample: its state and 50 actions
  for (const char* name : {"base", "gated_batch"}) {  // without a time MLP of its own and with it
    CAPTURE(name);
    const Inputs one = test::sample(test::golden_inputs(name), 0);
    Limits limits = test::limits_of(one);
    limits.batch = 3;
    Policy plain = test::load_golden(name, Precision::f32, 2, limits);
    for (const std::int64_t fused : {rows - 1, rows, 2 * rows + 7, 3 * rows}) {
      CAPTURE(fused);
      Captured captured(name, Precision::f32, limits, {4}, fused);
      for (const std::int64_t samples : {2, 1, 3, 1}) {
        const Inputs call = test::repeated(one, samples);
        CHECK(infer(*captured.engine, call) == plain.infer(call).values);
      }
      const auto weights = [&](std::int64_t samples) {
        return captured.device->weights.at({"model.action_out_proj", samples * 50});
      };
      for (const std::int64_t samples : {1, 2, 3}) {
        const bool few = fused >= rows && fused < 3 * rows && samples * rows <= fused;
        CHECK((weights(samples) != weights(3)) == few);
      }
    }
  }
}

TEST_CASE("samples that fill a batch up change nothing") {
  const Inputs inputs = test::golden_inputs("joint_four_views");
  Limits limits = test::limits_of(inputs);
  limits.batch = 41;  // steps of two samples
  Captured captured("joint_four_views", Precision::f32, limits, {2});
  Engine plain(test::golden("joint_four_views"), {.precision = Precision::f32, .steps = {2}, .limits = limits});
  for (const Inputs& call : {inputs, test::sample(inputs, 1), inputs}) {
    CHECK(infer(*captured.engine, call) == infer(plain, call));
  }
}

// Three samples of 903,168 values, more than one thread converts: the i-th is `inputs` with images times i + 1.
Inputs three_of(const Inputs& inputs) {
  Inputs three;
  for (const auto& part :
       {&Inputs::images, &Inputs::image_mask, &Inputs::tokens, &Inputs::token_mask, &Inputs::state, &Inputs::noise}) {
    const Array& one = inputs.*part;
    Shape shape = one.shape;
    shape[0] = 3;
    three.*part = Array(one.dtype, shape);
    for (std::size_t b = 0; b < 3; ++b)
      std::ranges::copy(one.bytes, (three.*part).bytes.begin() + static_cast<std::ptrdiff_t>(b * one.bytes.size()));
  }
  three.images = three.images.converted(DType::f32);
  const std::int64_t each = three.images.count() / 3;
  for (std::int64_t i = 0; i < three.images.count(); ++i)
    three.images.data<float>()[i] *= static_cast<float>(i / each + 1);
  return three;
}

TEST_CASE("several threads convert images as one does, and name the first value that is not finite") {
  Inputs inputs;
  SUBCASE("of one sample") { inputs = test::golden_inputs("base"); }
  SUBCASE("of a batch") { inputs = three_of(test::golden_inputs("base")); }
  inputs.images = inputs.images.converted(DType::f32);
  const Limits limits = test::limits_of(inputs);
  Captured captured("base", Precision::bf16, limits, {1});
  Engine plain(test::golden("base"), {.precision = Precision::bf16, .steps = {1}, .limits = limits});
  CHECK(infer(*captured.engine, inputs) == infer(plain, inputs));
  Inputs bad = inputs;
  const std::int64_t last = bad.images.count() - 1, middle = last / 2;
  for (const std::int64_t at : {last, middle}) {  // then both
    bad.images.data<float>()[at] = INFINITY;
    CHECK(test::error_of([&] { infer(*captured.engine, bad); }) ==
          std::pair{ErrorKind::input, "images: expected finite values, found inf at element " + std::to_string(at)});
  }
  CHECK(infer(*captured.engine, inputs) == infer(plain, inputs));
}

TEST_CASE("a kept prefix gives the actions of the whole call") {
  const Inputs inputs = test::golden_inputs("joint_four_views");
  Inputs moved = inputs;  // another state, and noise from the seed
  moved.state.data<float>()[0] += 0.5f;
  moved.noise = Array();
  Inputs state_only;
  state_only.state = moved.state;
  const InferOptions keep{.seed = 3, .keep_prefix = true};
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const Limits limits = test::limits_of(inputs);
    Policy whole = test::load_golden("joint_four_views", precision, 2, limits);
    const std::vector<float> expected = whole.infer(moved, {.seed = 3}).values;
    Policy policy = test::load_golden("joint_four_views", precision, 2, limits);
    CHECK(test::error_of([&] { policy.infer(state_only, keep); }) ==
          std::pair{ErrorKind::usage,
                    std::string("keep_prefix: expected a call before this one whose images and text are kept, found "
                                "none")});
    policy.infer(inputs);
    const ActionChunk chunk = policy.infer(state_only, keep);
    CHECK(chunk.values == expected);
    CHECK(!chunk.timing.contains("prefix"));
    Inputs other = test::sample(inputs, 0);
    CHECK(test::error_of([&] { policy.infer(other, keep); }).second ==
          "state: expected f32, f16 or bf16 [3, 14] (batch, max_state_dim), found f32 [1, 14]");
    other.images = other.images.converted(DType::f32);
    other.images.data<float>()[0] = INFINITY;
    CHECK(test::error_of([&] { policy.infer(other); }).first == ErrorKind::input);
    CHECK(policy.infer(state_only, keep).values == expected);  // a refused call leaves the prefix kept
    policy.trace(inputs, {});
    CHECK(test::error_of([&] { policy.infer(state_only, keep); }).first == ErrorKind::usage);
  }
}
