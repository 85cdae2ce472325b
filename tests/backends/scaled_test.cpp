// Formats whose values are stored over a scale, e4m3 and f16, on every device that has products of them, against the
// reference: linears, and the ops that write what they read.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "lab.h"

namespace nervus {
namespace {

constexpr DType scaled_formats[] = {DType::e4m3, DType::f16};

// The row of tolerances.h of a linear op.
std::string named(const std::string& op, DType format) { return format == DType::e4m3 ? op + "_e4m3" : op; }

// What a linear reads; in e4m3 some values are beyond the range of test_scale.
Tensor encoded(Lab& lab, const Linear& w, std::int64_t rows) {
  const Tensor x = lab.scaled_output(w.input.dtype, rows, w.inputs);
  lab.kernels().gather_rows(x, lab.input(lab.activation(), rows, w.inputs, 1.5f), {});
  CHECK(encoding_of(x) == w.input);
  return x;
}

TEST_CASE("scaled: linear, of odd shapes and of the model's") {
  struct Shape {
    std::int64_t rows, inputs, outputs;
    bool bias;
  };
  for (const DType format : scaled_formats)
    for (const Shape s : {Shape{1, 1, 1, true}, Shape{5, 7, 3, true}, Shape{17, 80, 130, false},
                          Shape{51, 96, 48, true}, Shape{264, 2048, 64, true}, Shape{5, 1280, 6848, true},
                          Shape{65, 3424, 160, true}, Shape{8, 11008, 96, false}}) {
      for (const bool full : {false, true}) {
        CAPTURE(s.rows);
        CAPTURE(s.inputs);
        check_scaled(format, named("linear", format), full ? std::optional(DType::f32) : std::nullopt, [&](Lab& lab) {
          const Linear w = lab.linear(s.inputs, s.outputs, s.bias, full);
          const Tensor y = lab.output(w.output, s.rows, s.outputs);
          lab.kernels().linear(y, encoded(lab, w, s.rows), w);
          return lab.values(y);
        });
      }
    }
}

TEST_CASE("scaled: linear_add with and without bias and gate, and linears of one shape with scales of their own") {
  for (const DType format : scaled_formats)
    for (const std::int64_t outputs : {130, 256}) {
      for (const bool bias : {false, true}) {
        for (const bool gated : {false, true}) {
          CAPTURE(bias);
          CAPTURE(gated);
          check_scaled(format, named("linear_add", format), DType::f32, [&](Lab& lab) {
            const Linear w = lab.linear(352, outputs, bias), other = lab.linear(352, outputs, bias);
            const Tensor h = lab.input(DType::f32, 51, outputs);
            const Tensor gate = gated ? lab.input(DType::f32, 1, outputs) : Tensor{};
            lab.kernels().linear_add(h, encoded(lab, w, 51), w, gate);
            lab.kernels().linear_add(h, encoded(lab, other, 51), other, gate);
            return lab.values(h);
          });
        }
      }
    }
}

TEST_CASE("scaled: what a linear reads is written over its scale") {
  for (const DType format : scaled_formats)
    for (const std::array<std::int64_t, 2> shape : {std::array<std::int64_t, 2>{1, 1}, {3, 37}, {51, 2048}}) {
      const std::int64_t rows = shape[0], columns = shape[1];
      const Body bodies[] = {
          [&](Lab& lab) {
            const Tensor y = lab.scaled_output(format, rows, columns);
            lab.kernels().rms_norm(y, lab.input(DType::f32, rows, columns, 2.0f),
                                   {lab.input(DType::f32, 1, columns), lab.input(DType::f32, 1, columns)});
            return lab.values(y);
          },
          [&](Lab& lab) {
            const Tensor y = lab.scaled_output(format, rows, columns);
            lab.kernels().swiglu(y, lab.input(lab.activation(), rows, 2 * columns, 1.5f));
            return lab.values(y);
          },
          [&](Lab& lab) {
            const Tensor y = lab.scaled_output(format, rows, columns);
            lab.kernels().gelu(y, lab.input(lab.activation(), rows, columns, 2.0f));
            return lab.values(y);
          },
          [&](Lab& lab) {  // once from activations, once as it is
            const Tensor x = lab.scaled_output(format, rows, columns), y = lab.scaled_output(format, 1, columns);
            lab.kernels().gather_rows(x, lab.input(lab.activation(), rows, columns, 2.0f), {});
            lab.kernels().gather_rows(y, x, lab.integers(1, 1, {static_cast<std::int32_t>(rows - 1)}));
            std::vector<float> values = lab.values(x);
            const std::vector<float> last = lab.values(y);
            CHECK(std::equal(last.begin(), last.end(), values.end() - columns));
            return values;
          },
      };
      const char* const ops[] = {"rms_norm", "swiglu", "gelu", "gather_rows"};
      for (int i = 0; i < 4; ++i) check_scaled(format, ops[i], format, bodies[i]);
    }
}

TEST_CASE("scaled: what exceeds f16's range is not finite, up to it all is") {
  for (const float largest : {4.1e6f, 4.2e6f}) {
    for (const Candidate& candidate : candidates(Precision::bf16)) {
      const auto device = candidate.make(1);
      if (!device->multiplies(DType::f16)) continue;
      device->use_formats({{"weight", held(DType::f16)}});
      Lab lab(*device, 4);
      const Linear w = lab.linear(64, 32, false, true);
      std::vector<float> values = lab.random_values(3 * 64, 1.0f);
      values[64] = largest;  // of the second row
      const Tensor x = lab.scaled_output(DType::f16, 3, 64), y = lab.output(DType::f32, 3, 32);
      lab.kernels().gather_rows(x, lab.input(DType::f32, 3, 64, values), {});
      lab.kernels().linear(y, x, w);
      const std::vector<float> found = lab.values(y);
      for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK(std::isfinite(found[i]) == (i / 32 != 1 || largest < float16_input_scale * largest_float16));
      }
    }
  }
}

TEST_CASE("scaled: attention writes it, with heads of any size") {
  for (const DType format : scaled_formats)
    for (const std::int64_t size : {6, 64, 80, 128}) {
      CAPTURE(size);
      check_scaled(format, "attention", format, [&](Lab& lab) {
        const Heads heads{4, 2, size};
        const std::int64_t rows = 70, slots = 90;
        std::vector<std::int32_t> ranges;
        for (std::int32_t r = 0; r < rows; ++r) ranges.insert(ranges.end(), {0, r + 1, 80, 90});
        const KeyValues cache{lab.input(lab.activation(), slots, heads.key_value * size),
                              lab.input(lab.activation(), slots, heads.key_value * size)};
        const Tensor y = lab.scaled_output(format, rows, heads.query * size);
        lab.kernels().attention(y, lab.input(lab.activation(), rows, heads.query * size), cache,
                                lab.integers(rows, 4, ranges), heads);
        return lab.values(y);
      });
    }
}

}  // namespace
}  // namespace nervus
