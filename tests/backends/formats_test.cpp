#include <doctest/doctest.h>

#include <cmath>

#include "backends/ops.h"
#include "backends/planning_device.h"
#include "lab.h"
#include "reference/device.h"

using namespace nervus;

TEST_CASE("a linear in e4m3 reads inputs over their scale and weights over one an output") {
  const Encoding encoding{DType::e4m3, 0.25f};
  std::vector<std::vector<float>> results;
  for (const bool quantised : {false, true}) {
    const auto device = make_reference_device(Precision::bf16);
    if (quantised) device->use_formats({{"weight", {encoding.dtype, encoding.scale}}});
    Lab lab(*device, 3);
    const Linear w = lab.linear(64, 48, true, true);
    CHECK(w.input == (quantised ? encoding : Encoding{DType::bf16}));
    CHECK(w.output == DType::f32);
    const std::int64_t bytes = 1 << 20;
    Workspace workspace(device->allocate(bytes), bytes);
    Ops ops(device->kernels(), workspace, device->activation());
    const Tensor wide = lab.input(DType::bf16, 5, 64, 3.0f);
    const Tensor x = ops.encode(wide, w.input);
    CHECK(encoding_of(x) == w.input);
    CHECK(encoding_of(x.slice(1, 2)) == w.input);
    CHECK(encoding_of(x.reshaped(10, 32)) == w.input);
    CHECK(encoding_of(ops.copy(x)) == w.input);
    CHECK(encoding_of(ops.rms_norm(lab.input(DType::f32, 5, 64, 1.0f), {lab.input(DType::f32, 1, 64, 1.0f), {}},
                                   w.input)) == w.input);
    results.push_back(lab.values(ops.linear(x, w)));
    if (!quantised) continue;
    Tensor other = x;
    other.scale = 1;
    CHECK_THROWS_AS(ops.linear(other, w), Error);
    const std::vector<float> expected = lab.values(wide), stored = lab.values(x);
    for (std::size_t i = 0; i < stored.size(); ++i) {  // half an ulp, or half the least code
      CHECK(std::abs(stored[i] * 0.25f - expected[i]) <= std::max(std::abs(expected[i]) / 16, 0.25f * 0x1p-10f));
    }
  }
  double dot = 0, one = 0, two = 0;
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    dot += results[0][i] * results[1][i];
    one += results[0][i] * results[0][i];
    two += results[1][i] * results[1][i];
  }
  CHECK(dot / std::sqrt(one * two) > 0.998);
  CHECK(results[0] != results[1]);
}

TEST_CASE("formats are refused by a device without their products, and count in a plan") {
  const Formats formats{{"weight", {DType::e4m3, 1.0f}}};
  CHECK_THROWS_AS(make_cpu_device(Precision::bf16, 1)->use_formats(formats), Error);
  PlanningDevice plain(Precision::bf16), quantised(Precision::bf16);
  quantised.use_formats(formats);
  for (PlanningDevice* device : {&plain, &quantised}) {
    device->make_linear({.name = "weight", .outputs = 8, .inputs = 32});
    device->make_linear({.name = "other", .outputs = 8, .inputs = 32});
  }
  CHECK(plain.memory() == 2 * 8 * 32 * 2);
  CHECK(quantised.memory() == 8 * 32 * 2 + 8 * 32 + 8 * 4);
  CHECK(quantised.linears().front().second == DType::e4m3);
  CHECK(quantised.linears().back().second == DType::bf16);
}
