// e4m3 on every device that has such products, against the reference: linears, and the ops that write what they read.
#include <doctest/doctest.h>

#include <array>

#include "lab.h"

namespace nervus {
namespace {

// What a linear in e4m3 reads; some values are beyond the range of test_scale.
Tensor encoded(Lab& lab, const Linear& w, std::int64_t rows) {
  const Tensor x = lab.e4m3_output(rows, w.inputs);
  lab.kernels().gather_rows(x, lab.input(lab.activation(), rows, w.inputs, 1.5f), {});
  CHECK(encoding_of(x) == w.input);
  return x;
}

TEST_CASE("e4m3: linear, of odd shapes and of the model's") {
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
      check_e4m3("linear_e4m3", full ? std::optional(DType::f32) : std::nullopt, [&](Lab& lab) {
        const Linear w = lab.linear(s.inputs, s.outputs, s.bias, full);
        const Tensor y = lab.output(w.output, s.rows, s.outputs);
        lab.kernels().linear(y, encoded(lab, w, s.rows), w);
        return lab.values(y);
      });
    }
  }
}

TEST_CASE("e4m3: linear_add with and without bias and gate, and linears of one shape with scales of their own") {
  for (const std::int64_t outputs : {130, 256}) {
    for (const bool bias : {false, true}) {
      for (const bool gated : {false, true}) {
        CAPTURE(bias);
        CAPTURE(gated);
        check_e4m3("linear_add_e4m3", DType::f32, [&](Lab& lab) {
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

TEST_CASE("e4m3: what a linear reads is written over its scale") {
  for (const std::array<std::int64_t, 2> shape : {std::array<std::int64_t, 2>{1, 1}, {3, 37}, {51, 2048}}) {
    const std::int64_t rows = shape[0], columns = shape[1];
    const Body bodies[] = {
        [&](Lab& lab) {
          const Tensor y = lab.e4m3_output(rows, columns);
          lab.kernels().rms_norm(y, lab.input(DType::f32, rows, columns, 2.0f),
                                 {lab.input(DType::f32, 1, columns), lab.input(DType::f32, 1, columns)});
          return lab.values(y);
        },
        [&](Lab& lab) {
          const Tensor y = lab.e4m3_output(rows, columns);
          lab.kernels().swiglu(y, lab.input(lab.activation(), rows, 2 * columns, 1.5f));
          return lab.values(y);
        },
        [&](Lab& lab) {
          const Tensor y = lab.e4m3_output(rows, columns);
          lab.kernels().gelu(y, lab.input(lab.activation(), rows, columns, 2.0f));
          return lab.values(y);
        },
        [&](Lab& lab) {  // once from activations, once as it is
          const Tensor x = lab.e4m3_output(rows, columns), y = lab.e4m3_output(1, columns);
          lab.kernels().gather_rows(x, lab.input(lab.activation(), rows, columns, 2.0f), {});
          lab.kernels().gather_rows(y, x, lab.integers(1, 1, {static_cast<std::int32_t>(rows - 1)}));
          std::vector<float> values = lab.values(x);
          const std::vector<float> last = lab.values(y);
          CHECK(std::equal(last.begin(), last.end(), values.end() - columns));
          return values;
        },
    };
    const char* const ops[] = {"rms_norm", "swiglu", "gelu", "gather_rows"};
    for (int i = 0; i < 4; ++i) check_e4m3(ops[i], DType::e4m3, bodies[i]);
  }
}

TEST_CASE("e4m3: attention writes it, with heads of any size") {
  for (const std::int64_t size : {6, 64, 80, 128}) {
    CAPTURE(size);
    check_e4m3("attention", DType::e4m3, [&](Lab& lab) {
      const Heads heads{4, 2, size};
      const std::int64_t rows = 70, slots = 90;
      std::vector<std::int32_t> ranges;
      for (std::int32_t r = 0; r < rows; ++r) ranges.insert(ranges.end(), {0, r + 1, 80, 90});
      const KeyValues cache{lab.input(lab.activation(), slots, heads.key_value * size),
                            lab.input(lab.activation(), slots, heads.key_value * size)};
      const Tensor y = lab.e4m3_output(rows, heads.query * size);
      lab.kernels().attention(y, lab.input(lab.activation(), rows, heads.query * size), cache,
                              lab.integers(rows, 4, ranges), heads);
      return lab.values(y);
    });
  }
}

}  // namespace
}  // namespace nervus
