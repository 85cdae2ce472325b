// Every op on every device against its reference: odd sizes and the shapes of the model.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "lab.h"

namespace nervus {
namespace {

std::vector<float> joined(std::initializer_list<std::vector<float>> parts) {
  std::vector<float> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST_CASE("linear") {
  struct Shape {
    std::int64_t rows, inputs, outputs;
    bool bias;
  };
  for (const Shape s : {Shape{1, 1, 1, true}, Shape{5, 7, 3, true}, Shape{51, 75, 768, true}, Shape{50, 768, 75, true},
                        Shape{17, 1176, 130, false}, Shape{51, 768, 512, false}, Shape{9, 3424, 128, true},
                        Shape{6, 11008, 96, false}}) {
    for (const bool full : {false, true}) {
      CAPTURE(s.rows);
      CAPTURE(s.inputs);
      check_against_reference("linear", full, [&](Lab& lab) {
        const Linear w = lab.linear(s.inputs, s.outputs, s.bias, full);
        const Tensor x = lab.input(w.input.dtype, s.rows, s.inputs);
        const Tensor y = lab.output(w.output, s.rows, s.outputs);
        lab.kernels().linear(y, x, w);
        return lab.values(y);
      });
    }
  }
}

TEST_CASE("linear_add with and without bias and gate") {
  for (const bool bias : {false, true}) {
    for (const bool gated : {false, true}) {
      CAPTURE(bias);
      CAPTURE(gated);
      check_against_reference("linear_add", true, [&](Lab& lab) {
        const Linear w = lab.linear(344, 130, bias);
        const Tensor x = lab.input(w.input.dtype, 51, 344);
        const Tensor h = lab.input(DType::f32, 51, 130);
        const Tensor gate = gated ? lab.input(DType::f32, 1, 130) : Tensor{};
        lab.kernels().linear_add(h, x, w, gate);
        lab.kernels().linear_add(h, x, w, gate);
        return lab.values(h);
      });
    }
  }
}

TEST_CASE("rms_norm") {
  for (const bool shifted : {false, true}) {
    for (const std::array<std::int64_t, 2> shape : {std::array<std::int64_t, 2>{1, 1}, {3, 5}, {51, 768}, {33, 1280}}) {
      check_against_reference(shifted ? "rms_norm_shift" : "rms_norm", false, [&](Lab& lab) {
        const Tensor h = lab.input(DType::f32, shape[0], shape[1], 3.0f, 0.5f);
        const Tensor scale = lab.input(DType::f32, 1, shape[1], 0.2f, 1.0f);
        // So small that it does not cancel the only value of a row: what is left would be all rounding.
        const Tensor shift = shifted ? lab.input(DType::f32, 1, shape[1], 0.2f) : Tensor{};
        const Tensor y = lab.output(lab.activation(), shape[0], shape[1]);
        lab.kernels().rms_norm(y, h, {scale, shift});
        return lab.values(y);
      });
    }
  }
}

TEST_CASE("cut_patches, of images alone and in a batch") {
  struct Shape {
    std::int64_t images, grid;
    PatchGeometry geometry;
  };
  for (const Shape s : {Shape{1, 2, {2, 2, 2}}, Shape{3, 6, {5, 3, 1}}, Shape{2, 4, {3, 1, 3}}, Shape{3, 16, {}}}) {
    CAPTURE(s.grid);
    for (const bool full : {false, true}) {
      check_against_reference("cut_patches", full, [&](Lab& lab) {
        const Tensor pixels = lab.bytes(s.images, 3 * s.grid * s.grid * s.geometry.area());
        const Tensor levels = lab.input(DType::f32, 3, 256);
        const Tensor y =
            lab.output(full ? DType::f32 : lab.activation(), s.images * s.grid * s.grid, s.geometry.values());
        lab.kernels().cut_patches(y, pixels, levels, s.geometry);
        return lab.values(y);
      });
    }
  }
}

TEST_CASE("split_rope writes q and the slots, and nothing else") {
  for (const Heads heads : {Heads{16, 16, 80}, Heads{16, 2, 128}, Heads{0, 2, 128}, Heads{3, 1, 2}, Heads{2, 2, 34}}) {
    CAPTURE(heads.size);
    check_against_reference("split_rope", false, [&](Lab& lab) {
      const std::int64_t rows = 21;
      const std::int64_t slots = 40;
      std::vector<std::int32_t> places(rows);
      std::vector<std::int32_t> positions(rows);
      for (std::int32_t r = 0; r < rows; ++r) {
        places[static_cast<std::size_t>(r)] = 37 - r;
        positions[static_cast<std::size_t>(r)] = (r * 7) % 30;
      }
      std::vector<float> cosine;
      std::vector<float> sine;
      for (const float angle : lab.random_values(30 * heads.size / 2, 2.0f)) {
        cosine.push_back(std::cos(angle));
        sine.push_back(std::sin(angle));
      }
      const Rope rope{lab.device().constant(30, heads.size / 2, cosine),
                      lab.device().constant(30, heads.size / 2, sine), lab.integers(1, rows, positions)};
      const std::int64_t width = heads.key_value * heads.size;
      const Tensor qkv = lab.input(lab.activation(), rows, (heads.query + 2 * heads.key_value) * heads.size);
      const KeyValues cache{lab.output(lab.activation(), slots, width), lab.output(lab.activation(), slots, width)};
      const Tensor q = lab.output(lab.activation(), rows, heads.query * heads.size);
      lab.kernels().split_rope(q, cache, lab.integers(1, rows, places), qkv, heads, rope);
      return joined({lab.values(q), lab.values(cache.keys), lab.values(cache.values)});
    });
  }
}

struct AttentionCase {
  const char* name;
  Heads heads;
  std::int64_t slots;
  std::vector<std::array<std::int32_t, 4>> ranges;
};

std::vector<AttentionCase> attention_cases() {
  using Ranges = std::vector<std::array<std::int32_t, 4>>;
  std::vector<AttentionCase> cases;
  Ranges windows;
  for (std::int32_t r = 0; r < 160; ++r) windows.push_back({r / 64 * 64, std::min(r / 64 * 64 + 64, 160), 0, 0});
  cases.push_back({"vision windows", {4, 4, 80}, 160, windows});
  Ranges causal;
  for (std::int32_t r = 0; r < 75; ++r) causal.push_back({3, 4 + r, 0, 0});
  cases.push_back({"causal", {8, 2, 32}, 80, causal});
  Ranges expert{{0, 0, 0, 0}};
  for (std::int32_t r = 0; r < 51; ++r) expert.push_back({5, 208, 264, r == 0 ? 265 : 315});
  cases.push_back({"expert, with a row that sees nothing", {16, 2, 128}, 320, expert});
  Ranges holes;
  for (std::int32_t r = 0; r < 23; ++r) holes.push_back({r % 5, r % 5 + r % 3, 20 + r % 4, 20 + r});
  cases.push_back({"holes", {6, 3, 6}, 50, holes});
  cases.push_back({"one key", {5, 1, 7}, 3, {{2, 3, 0, 0}, {0, 0, 1, 2}}});
  return cases;
}

TEST_CASE("attention sees exactly its ranges") {
  for (const AttentionCase& c : attention_cases()) {
    CAPTURE(c.name);
    for (const bool full : {false, true}) {
      check_against_reference("attention", full, [&](Lab& lab) {
        const auto rows = static_cast<std::int64_t>(c.ranges.size());
        std::vector<std::int32_t> ranges;
        std::vector<bool> seen(static_cast<std::size_t>(c.slots));
        for (const auto& row : c.ranges) {
          ranges.insert(ranges.end(), row.begin(), row.end());
          for (std::int32_t i = row[0]; i < row[1]; ++i) seen[static_cast<std::size_t>(i)] = true;
          for (std::int32_t i = row[2]; i < row[3]; ++i) seen[static_cast<std::size_t>(i)] = true;
        }
        const std::int64_t width = c.heads.key_value * c.heads.size;
        auto keys = lab.random_values(c.slots * width, 2.0f);
        auto values = lab.random_values(c.slots * width, 1.0f);
        for (std::size_t i = 0; i < keys.size(); ++i) {
          if (!seen[i / static_cast<std::size_t>(width)]) keys[i] = values[i] = std::nanf("");
        }
        const KeyValues cache{lab.input(lab.activation(), c.slots, width, keys),
                              lab.input(lab.activation(), c.slots, width, values)};
        const Tensor q = lab.input(lab.activation(), rows, c.heads.query * c.heads.size);
        const Tensor y = lab.output(full ? DType::f32 : lab.activation(), rows, q.columns);
        lab.kernels().attention(y, q, cache, lab.integers(rows, 4, ranges), c.heads);
        return lab.values(y);
      });
    }
  }
}

// Values of all sizes, with the ones where exponentials overflow, vanish and turn subnormal.
std::vector<float> wide_range(Lab& lab, std::int64_t count) {
  std::vector<float> values = lab.random_values(count, 4.0f);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i % 7 == 0) values[i] *= 1e-3f;
    if (i % 11 == 0) values[i] *= 6.0f;
  }
  return values;
}

TEST_CASE("silu and gelu") {
  for (const std::array<std::int64_t, 2> shape : {std::array<std::int64_t, 2>{1, 1}, {3, 37}, {50, 768}}) {
    check_against_reference("silu", false, [&](Lab& lab) {
      const Tensor x = lab.input(lab.activation(), shape[0], shape[1], wide_range(lab, shape[0] * shape[1]));
      const Tensor y = lab.output(lab.activation(), shape[0], shape[1]);
      lab.kernels().silu(y, x);
      return lab.values(y);
    });
    check_against_reference("gelu", false, [&](Lab& lab) {
      std::vector<float> values = lab.random_values(shape[0] * shape[1], 2.5f);
      const Tensor x = lab.input(lab.activation(), shape[0], shape[1], values);
      const Tensor y = lab.output(lab.activation(), shape[0], shape[1]);
      lab.kernels().gelu(y, x);
      return lab.values(y);
    });
  }
}

TEST_CASE("swiglu") {
  for (const std::array<std::int64_t, 2> shape : {std::array<std::int64_t, 2>{1, 1}, {3, 37}, {51, 2752}}) {
    check_against_reference("swiglu", false, [&](Lab& lab) {
      const Tensor x = lab.input(lab.activation(), shape[0], 2 * shape[1], wide_range(lab, 2 * shape[0] * shape[1]));
      const Tensor y = lab.output(lab.activation(), shape[0], shape[1]);
      lab.kernels().swiglu(y, x);
      return lab.values(y);
    });
  }
}

TEST_CASE("gather_rows converts between formats and repeats rows") {
  for (const DType from : {DType::f32, DType::bf16}) {
    for (const DType to : {DType::f32, DType::bf16}) {
      for (const bool indexed : {false, true}) {
        check_against_reference("gather_rows", false, [&](Lab& lab) {
          std::vector<float> numbers = lab.random_values(9 * 75, 1.0f);
          // Half way between two bf16s, whose even one is below and above; the largest float; no number.
          const float special[] = {0x1.01p0f, 0x1.03p0f, -0x1.03p0f, 0x1.fffffep127f, std::bit_cast<float>(0x7fffffffu),
                                   HUGE_VALF, -0.0f};
          std::copy(std::begin(special), std::end(special), numbers.begin());
          const Tensor x = lab.input(from, 9, 75, numbers);
          const Tensor index = indexed ? lab.integers(1, 12, {8, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0}) : Tensor{};
          const Tensor y = lab.output(to, indexed ? 12 : 9, 75);
          lab.kernels().gather_rows(y, x, index);
          return lab.values(y);
        });
      }
    }
  }
}

TEST_CASE("gather_rows leaves rows of a negative index as they are") {
  for (const DType from : {DType::f32, DType::bf16}) {
    for (const DType to : {DType::f32, DType::bf16}) {
      check_against_reference("gather_rows", false, [&](Lab& lab) {
        const Tensor x = lab.input(from, 3, 75);
        const Tensor y = lab.input(to, 5, 75);
        lab.kernels().gather_rows(y, x, lab.integers(1, 5, {-1, 2, -1, 0, -1}));
        return lab.values(y);
      });
    }
  }
}

TEST_CASE("euler_step") {
  check_against_reference("euler_step", true, [](Lab& lab) {
    const Tensor x = lab.input(DType::f32, 50, 75);
    const Tensor v = lab.input(DType::f32, 50, 75);
    lab.kernels().euler_step(x, v, 0.1f);
    return lab.values(x);
  });
}

TEST_CASE("attention: a value that a row does not see leaves it alone, even a NaN") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Candidate& candidate : candidates(precision)) {
      const auto device = candidate.make(2);
      Lab lab(*device, 2);
      std::vector<float> values = lab.random_values(3 * 40, 1.0f);
      values[2 * 40 + 5] = std::nanf("");
      const KeyValues cache{lab.input(lab.activation(), 3, 40, values), lab.input(lab.activation(), 3, 40, values)};
      const Tensor q = lab.input(lab.activation(), 3, 40);
      const Tensor y = lab.output(lab.activation(), 3, 40);
      lab.kernels().attention(y, q, cache, lab.integers(3, 4, {0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0}), {2, 2, 20});
      const std::vector<float> found = lab.values(y);
      CAPTURE(candidate.name);
      CHECK(std::all_of(found.begin(), found.begin() + 80, [](float x) { return std::isfinite(x); }));
      CHECK(std::isnan(found[2 * 40 + 5]));
    }
  }
}

TEST_CASE("a NaN stays a NaN, in its row alone") {
  const float nan = std::nanf("");
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Candidate& candidate : candidates(precision)) {
      const auto device = candidate.make(2);
      Lab lab(*device, 1);
      std::vector<float> values = lab.random_values(3 * 40, 1.0f);
      values[40 + 7] = nan;
      const Tensor h = lab.input(DType::f32, 3, 40, values);
      const Tensor x = lab.input(lab.activation(), 3, 40, values);
      const Linear w = lab.linear(40, 24, true);
      const Tensor ones = lab.input(DType::f32, 1, 40, std::vector<float>(40, 1.0f));
      const Tensor all_slots = lab.integers(3, 4, {0, 3, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0});
      const Tensor finite = lab.input(lab.activation(), 3, 40);
      std::vector<Tensor> results;
      for (const std::int64_t width : {40, 40, 40, 20, 40, 24}) {
        results.push_back(lab.output(lab.activation(), 3, width));
      }
      Kernels& kernels = lab.kernels();
      kernels.rms_norm(results[0], h, {ones, {}});
      kernels.silu(results[1], x);
      kernels.gelu(results[2], x);
      kernels.swiglu(results[3], x);
      kernels.attention(results[4], x, {finite, finite}, all_slots, {2, 2, 20});
      kernels.linear(results[5], x, w);
      for (std::size_t i = 0; i < results.size(); ++i) {
        CAPTURE(i);
        const std::vector<float> found = lab.values(results[i]);
        const auto width = static_cast<std::size_t>(results[i].columns);
        bool others_finite = true;
        bool some_nan = false;
        for (std::size_t k = 0; k < found.size(); ++k) {
          if (k / width == 1) some_nan = some_nan || std::isnan(found[k]);
          else others_finite = others_finite && std::isfinite(found[k]);
        }
        CHECK(some_nan);
        CHECK(others_finite);
      }
    }
  }
}

}  // namespace
}  // namespace nervus
