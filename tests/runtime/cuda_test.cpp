// The reference cases on a CUDA device, where there is one.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "nervus/error.h"
#include "runtime/cuda_support.h"
#include "runtime/engine.h"

using namespace nervus;

namespace {

using test::has_cuda;

void check_case(const std::string& name, const LoadOptions& options) {
  const std::string directory = test::golden(name);
  const VerifyReport report = verify(directory, directory, options);
  CHECK(report.stages.size() >= 7);
  for (const StageError& stage : report.stages) {
    CAPTURE(name);
    CAPTURE(stage.stage);
    CAPTURE(stage.error);
    CAPTURE(stage.cosine);
    CHECK(stage.passed);
  }
}

}  // namespace

TEST_CASE(
    "every golden case holds on cuda:0, in float32 at every stage, in 16 bits by its cosine, by both attentions") {
  if (!has_cuda()) return;
  for (const char* name :
       {"base", "depth", "causal", "gated_batch", "odd_one_view", "joint_four_views", "depth_causal_batch"}) {
    for (const Precision precision : {Precision::f32, Precision::bf16, Precision::f16}) {
      check_case(name, {.device = "cuda:0", .precision = precision});
      check_case(name, {.device = "cuda:0", .precision = precision, .attention = Attention::plain});
    }
  }
}

TEST_CASE("fast attention on cuda:0 holds, or is refused at load with its reason; plain attention fuses no block") {
  if (!has_cuda()) return;
  const std::string base = test::golden("base");
  const LoadOptions options{.device = "cuda:0", .steps = {2}};
  const auto refusal = [](const std::string& directory, LoadOptions load) {
    load.attention = Attention::fast;
    return test::error_of([&] { Policy::load(directory, load); });
  };
  LoadOptions exact = options;
  exact.precision = Precision::f32;
  CHECK(refusal(base, exact).first == ErrorKind::unsupported);
  CHECK(refusal(base, exact).second.find("attention 'fast' computes in bf16") != std::string::npos);

  const PolicyInfo chosen = Policy::load(base, options).info();
  REQUIRE(chosen.attention_plan.size() > 1);
  const bool lacks = std::ranges::any_of(chosen.attention_plan, [](const std::string& line) {
    return line.find(": plain: the fast kernels have ") != std::string::npos;
  });
  if (lacks) {
    CHECK(refusal(base, options).second.find("attention 'fast': the fast kernels have ") == 0);
  } else {
    LoadOptions fast = options;
    fast.attention = Attention::fast;
    CHECK(Policy::load(base, fast).info().attention_plan.front() == "the fast kernels alone, as was asked for");
  }
  LoadOptions plain = options;
  plain.attention = Attention::plain;
  const PolicyInfo info = Policy::load(base, plain).info();
  for (const std::string& line : info.attention_plan) CHECK(line.find("fast,") == std::string::npos);
  const auto blocks = [](const std::string& line) { return line.starts_with("blocks of "); };
  const auto line = std::ranges::find_if(info.linear_plan, blocks);
  REQUIRE(line != info.linear_plan.end());
  CHECK(line->ends_with("not fused: the plain attention reads rows, not tiles"));
}

TEST_CASE("pixels give the bytes that their patches give on cuda:0, where patches become f32, bf16 and f16") {
  if (!has_cuda()) return;
  Inputs patches = test::golden_inputs("gated_batch");
  const Limits limits = patches.limits();
  Inputs pixels = patches;
  pixels.images = test::random_pixels(limits.batch, limits.views, PatchGeometry{}.side(limits.patches), 7);
  patches.images = test::patches_of(pixels.images);
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::f16}) {
    Policy policy = Policy::load(test::golden("gated_batch"),
                                 {.device = "cuda:0", .precision = precision, .steps = {2}, .limits = limits});
    const std::vector<float> expected = policy.infer(patches).values;
    CHECK(policy.infer(pixels).values == expected);
    pixels.images.bytes[5] ^= std::byte{0x40};
    CHECK(policy.infer(pixels).values != expected);
    pixels.images.bytes[5] ^= std::byte{0x40};
  }
}

TEST_CASE(
    "one sample gets on cuda:0 the bytes that it gets where calls of more are allowed, which have other kernels") {
  if (!has_cuda()) return;
  const Inputs inputs = test::golden_inputs("base");
  LoadOptions options{.device = "cuda:0", .steps = {2}, .limits = inputs.limits()};
  Policy one = Policy::load(test::golden("base"), options);
  options.limits.batch = 5;
  Policy five = Policy::load(test::golden("base"), options);
  const auto has = [](const Policy& policy, const std::string& line) {
    const std::vector<std::string>& plan = policy.info().linear_plan;
    return std::ranges::any_of(plan, [&](const std::string& each) { return each.find(line) != std::string::npos; });
  };
  if (!has(one, "up to 51 rows: five fused kernels a layer")) return;  // of another device than compute capability 9.0
  CHECK(has(five, "up to 102 rows: five fused kernels a layer"));
  CHECK(has(five, "up to 255 rows: five kernels of wide tiles a layer"));
  const std::vector<float> alone = one.infer(inputs).values;
  CHECK(five.infer(inputs).values == alone);
  for (const std::int64_t samples : {2, 3, 4, 5}) {
    CAPTURE(samples);
    const std::vector<float> all = five.infer(test::repeated(inputs, samples)).values;
    REQUIRE(all.size() == alone.size() * static_cast<std::size_t>(samples));
    double largest = 0, error = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const float expected = alone[i % alone.size()];
      largest = std::max(largest, std::abs(static_cast<double>(expected)));
      error = std::max(error, std::abs(static_cast<double>(all[i]) - expected));
    }
    CHECK(error < 0.02 * largest);
  }
}

TEST_CASE("inspect asks cuda:0 what it would do, and what a load then does is that") {
  if (!has_cuda()) return;
  const LoadOptions options{.device = "cuda:0", .steps = {2, 3}};
  const CheckpointReport report = inspect(test::golden("base"), options);
  const PolicyInfo info = Policy::load(test::golden("base"), options).info();
  CHECK(report.device == info.device);
  CHECK(report.graphs == info.graphs);
  CHECK(report.device_bytes == info.device_bytes);
  CHECK(report.attention_plan == info.attention_plan);
  CHECK(report.linear_plan.size() == info.linear_plan.size());
  CHECK(info.device_bytes >= info.weight_bytes + info.workspace_bytes);
}

TEST_CASE("cuda:0 says what it is, or why it cannot, and reaches a peak") {
  if (!has_cuda()) return;
  const DeviceState state = device_state("cuda:0");
  CHECK(state.runtime.starts_with("CUDA "));
  CHECK(state.memory_used > 0);
  CHECK(state.memory_used < state.memory_total);
  if (state.unknown.empty()) {
    CHECK(state.clock > 0);
    CHECK(state.clock <= state.largest_clock);
    CHECK(!state.driver.empty());
  }
  const DevicePeaks peaks = measure_peaks({.device = "cuda:0"});
  CHECK(peaks.flops > 1e12);
  CHECK(peaks.flops < 1e16);
  CHECK(peaks.bytes_per_second > 1e11);
  CHECK(peaks.bytes_per_second < 1e14);
}
