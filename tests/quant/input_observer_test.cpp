#include "quant/input_observer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "checkpoint/support.h"
#include "reference/device.h"

using namespace nervus;

namespace {

// Feeds the values to an observer as the input of a linear, in two ops.
void feed(InputObserver& observer, const std::vector<float>& values) {
  std::vector<float> copy = values;
  const auto half = static_cast<std::int64_t>(values.size() / 2),
             rest = static_cast<std::int64_t>(values.size()) - half;
  const Tensor one{copy.data(), DType::f32, 1, half}, two{copy.data() + half, DType::f32, rest, 1};
  for (const Tensor& x : {one, two}) observer.before({.op = "linear", .name = "w", .input = x});
}

}  // namespace

TEST_CASE("percentiles are those of sorting, never below and at most 2^-7 above") {
  const auto device = make_reference_device(Precision::f32);
  InputObserver observer(*device, {});
  std::vector<float> values;
  for (int i = 0; i < 5000; ++i) values.push_back((i % 2 ? -1.0f : 1.0f) * std::exp(std::sin(i * 1.7f) * 9));
  values.push_back(0.0f);
  feed(observer, values);
  observer.before({.op = "swiglu"});
  REQUIRE(observer.linears().size() == 1);
  const InputStatistics& seen = observer.linears().at("w");
  CHECK(seen.count == 5001);
  std::vector<float> sorted = values;
  for (float& value : sorted) value = std::abs(value);
  std::ranges::sort(sorted);
  CHECK(seen.largest == sorted.back());
  CHECK(seen.percentile(100) == sorted.back());
  for (const double percentile : {50.0, 90.0, 99.0, 99.9}) {
    const float exact = sorted[static_cast<std::size_t>(std::ceil(percentile / 100 * 5001)) - 1];
    const float found = seen.percentile(percentile);
    CHECK(found >= exact);
    CHECK(found <= exact * (1 + 0x1p-7f));
    const auto above = std::ranges::count_if(sorted, [&](float value) { return value >= found; });
    CHECK(seen.above(found) == (found < seen.largest ? above : 0));
  }
}

TEST_CASE("values beyond their limit are counted, and those that are not finite refused") {
  const auto device = make_reference_device(Precision::f32);
  InputObserver observer(*device, {{"w", 2.0f}});
  feed(observer, {1, -2, 2.5f, -3, 0, 1e30f});
  CHECK(observer.linears().at("w").beyond == 3);
  CHECK(observer.linears().at("w").largest == 1e30f);
  CHECK(test::error_of([&] {
          feed(observer, {1, std::numeric_limits<float>::quiet_NaN()});
        }).second == "input of the linear 'w': expected finite values, found nan");
  CHECK(test::error_of([&] { observer.before({.op = "fused_qkv", .name = "w"}); }).first == ErrorKind::internal);
}

TEST_CASE("of a linear that reads a norm what stands before it is observed too: h times the norm's scale") {
  const auto device = make_reference_device(Precision::f32);
  InputObserver observer(*device, {}, {{"first", 3.0f}});
  std::vector<float> h = {1, -2, 0.5f, 3}, scale = {2, -1}, normed(4), other(4);
  const auto rows = [](std::vector<float>& values) { return Tensor{values.data(), DType::f32, 2, 2}; };
  const OpEvent norm{
      .op = "rms_norm", .input = rows(h), .result = rows(normed), .scale = {scale.data(), DType::f32, 1, 2}};
  const auto linear = [&](const char* op, const char* name, const Tensor& x, std::vector<float>& y) {
    observer.before({.op = op, .name = name, .input = x, .result = rows(y)});
  };
  observer.before(norm);
  linear("linear", "first", rows(normed), other);
  linear("linear", "second", rows(normed), other);
  linear("linear", "of another's result", rows(other), other);
  linear("linear", "of norms side by side", rows(normed).reshaped(1, 4), other);
  linear("linear_add", "added", rows(other), h);
  linear("linear", "of what h was", rows(normed), other);
  observer.before(norm);
  observer.before({.op = "swiglu", .input = rows(h), .result = rows(normed)});
  linear("linear", "of what was written there since", rows(normed), other);
  CHECK(observer.linears().size() == 7);
  REQUIRE(observer.streams().size() == 2);
  const InputStatistics& seen = observer.streams().at("first");
  CHECK(seen.count == 4);
  CHECK(seen.largest == 3);  // 2, 2, 1 and 3
  CHECK(seen.beyond == 0);
  h[3] = 4;
  observer.before(norm);
  linear("linear", "first", rows(normed), other);
  CHECK(seen.largest == 4);
  CHECK(seen.beyond == 1);
  CHECK(observer.streams().at("second").largest == 3);
  h[0] = std::numeric_limits<float>::infinity();
  observer.before(norm);
  CHECK(test::error_of([&] { linear("linear", "first", rows(normed), other); }).second ==
        "stream before the norm of the linear 'first': expected finite values, found inf");
}

TEST_CASE("zeros alone, tiny and huge values have a percentile") {
  const auto device = make_reference_device(Precision::f32);
  InputObserver zeros(*device, {}), tiny(*device, {}), huge(*device, {});
  feed(zeros, {0, 0, 0});
  feed(tiny, {1e-30f, 1e-30f});
  feed(huge, {1e20f, 2e20f, 3e20f});
  CHECK(zeros.linears().at("w").percentile(99) == 0);
  CHECK(tiny.linears().at("w").percentile(99) == 1e-30f);
  CHECK(huge.linears().at("w").percentile(50) == 3e20f);
}
