// int8 on every device that has such products, against the reference: linears, and the ops that write what they read.
#include "core/int8.h"

#include <doctest/doctest.h>

#include <cmath>

#include "backends/ops.h"
#include "lab.h"
#include "reference/device.h"

namespace nervus {
namespace {

// What a linear in int8 reads. Row 0 is zero, and another has one value far beyond the rest.
Tensor encoded(Lab& lab, const Linear& w, std::int64_t rows) {
  std::vector<float> values = lab.random_values(rows * w.inputs, 1.5f);
  std::fill_n(values.begin(), rows > 1 ? w.inputs : 0, 0.0f);
  values.back() = 60.0f;
  const Tensor x = lab.int8_output(rows, w.inputs);
  lab.kernels().gather_rows(x, lab.input(lab.activation(), rows, w.inputs, values), {});
  CHECK(encoding_of(x) == w.input);
  return x;
}

struct Extents {
  std::int64_t rows, columns;
};

TEST_CASE("int8: linear, of odd shapes and of the model's") {
  struct Shape {
    std::int64_t rows, inputs, outputs;
    bool bias;
  };
  for (const Shape s : {Shape{1, 1, 1, true}, Shape{5, 7, 3, true}, Shape{17, 80, 130, false}, Shape{51, 96, 48, true},
                        Shape{264, 2048, 64, true}, Shape{5, 1280, 6848, true}, Shape{65, 3424, 160, true},
                        Shape{8, 11008, 96, false}}) {
    for (const bool full : {false, true}) {
      CAPTURE(s.rows);
      CAPTURE(s.inputs);
      check_int8("linear_int8", full ? std::optional(DType::f32) : std::nullopt, [&](Lab& lab) {
        const Linear w = lab.linear(s.inputs, s.outputs, s.bias, full);
        const Tensor y = lab.output(w.output, s.rows, s.outputs);
        lab.kernels().linear(y, encoded(lab, w, s.rows), w);
        return lab.values(y);
      });
    }
  }
}

TEST_CASE("int8: linear_add with and without bias and gate") {
  for (const std::int64_t outputs : {130, 256}) {
    for (const bool bias : {false, true}) {
      for (const bool gated : {false, true}) {
        CAPTURE(outputs);
        CAPTURE(bias);
        CAPTURE(gated);
        check_int8("linear_add_int8", DType::f32, [&](Lab& lab) {
          const Linear w = lab.linear(352, outputs, bias);
          const Tensor h = lab.input(DType::f32, 51, outputs);
          const Tensor gate = gated ? lab.input(DType::f32, 1, outputs) : Tensor{};
          lab.kernels().linear_add(h, encoded(lab, w, 51), w, gate);
          return lab.values(h);
        });
      }
    }
  }
}

TEST_CASE("int8: rms_norm and gather_rows write rows over scales of their own") {
  for (const Extents s : {Extents{1, 1}, {3, 37}, {33, 1280}, {51, 2048}, {7, 3424}}) {
    for (const bool shifted : {false, true}) {
      const auto normalised = [&, shifted](Lab& lab) {
        const Tensor y = lab.int8_output(s.rows, s.columns);
        const Tensor h = lab.input(DType::f32, s.rows, s.columns, 2.0f), scale = lab.input(DType::f32, 1, s.columns);
        lab.kernels().rms_norm(y, h, {scale, shifted ? lab.input(DType::f32, 1, s.columns) : Tensor{}});
        return y;
      };
      CAPTURE(shifted);
      check_int8("rms_norm", DType::i8, [&](Lab& lab) { return lab.values(normalised(lab)); });
      if (shifted) continue;  // which may cancel the largest
      check_int8("row_scales", DType::f32, [&](Lab& lab) { return lab.row_scales(normalised(lab)); });
    }
    const Body gathered = [&](Lab& lab) {  // the rows backwards, and one that stays as it is
      const Tensor y = lab.int8_output(s.rows + 1, s.columns);
      std::vector<std::int32_t> index;
      for (std::int64_t r = s.rows; r-- > 0;) index.push_back(static_cast<std::int32_t>(r));
      index.push_back(-1);
      lab.kernels().gather_rows(y, lab.input(lab.activation(), s.rows, s.columns, 2.0f),
                                lab.integers(1, s.rows + 1, index));
      const std::vector<float> scales = lab.row_scales(y), values = lab.values(y);
      CHECK(std::isnan(scales.back()));
      CHECK(values.back() == -128.0f);
      return values;
    };
    check_int8("gather_rows", DType::i8, gathered);
  }
}

TEST_CASE("int8: whatever ops write is within half a step of what they write otherwise") {
  const auto device = make_reference_device(Precision::bf16);
  Lab lab(*device, 5);
  const std::int64_t bytes = 1 << 20;
  Workspace workspace(device->allocate(bytes), bytes);
  Ops ops(device->kernels(), workspace, device->activation());
  const Encoding encoding{DType::i8};
  const Tensor x = lab.input(DType::bf16, 6, 64, 3.0f);
  const Heads heads{2, 2, 32};
  const KeyValues cache{lab.input(DType::bf16, 9, 64), lab.input(DType::bf16, 9, 64)};
  std::vector<std::int32_t> ranges;
  for (std::int32_t r = 0; r < 6; ++r) ranges.insert(ranges.end(), {0, r + 1, 8, 9});
  const Tensor seen = lab.integers(6, 4, ranges);
  const std::function<Tensor(const Encoding&)> results[] = {
      [&](const Encoding& e) { return ops.encode(x, e); },
      [&](const Encoding& e) { return ops.swiglu(x, e); },
      [&](const Encoding& e) { return ops.gelu(x, e); },
      [&](const Encoding& e) { return ops.attention(x, cache, seen, heads, e); },
  };
  for (const auto& result : results) {
    const Tensor exact = result({DType::bf16}), y = result(encoding), last = y.slice(4, 2);
    REQUIRE(encoding_of(y) == encoding);
    const std::vector<float> expected = lab.values(exact), codes = lab.values(y), scales = lab.row_scales(y);
    CHECK(lab.row_scales(last) == std::vector<float>(scales.begin() + 4, scales.end()));
    for (std::int64_t i = 0; i < y.count(); ++i) {
      const float scale = scales[static_cast<std::size_t>(i / y.columns)];
      CHECK(std::abs(codes[static_cast<std::size_t>(i)] * scale - expected[static_cast<std::size_t>(i)]) <=
            0.5001f * scale);
    }
    CHECK_THROWS_AS(y.reshaped(3, y.count() / 3), Error);
  }
}

TEST_CASE("int8 rounds to the nearest, to even between two, and saturates") {
  CHECK(int8_scale(0.0f) == 1.0f);
  CHECK(int8_scale(254.0f) == 2.0f);
  CHECK(to_int8(-3.0f, 2.0f) == -2);
  CHECK(to_int8(5.0f, 2.0f) == 2);
  CHECK(to_int8(5.1f, 2.0f) == 3);
  CHECK(to_int8(1e9f, 2.0f) == 127);
  CHECK(to_int8(-1e9f, 2.0f) == -127);
}

}  // namespace
}  // namespace nervus
