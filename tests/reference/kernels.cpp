#include "reference/kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/int8.h"

namespace nervus {
namespace {

double get(const Tensor& x, std::int64_t row, std::int64_t column) {
  const std::int64_t i = row * x.columns + column;
  if (x.dtype == DType::i8) return static_cast<double>(x.row_scales[row]) * x.as<std::int8_t>()[i];
  if (x.dtype == DType::e4m3) return static_cast<double>(x.scale) * to_float(x.as<Float8>()[i]);
  if (x.dtype == DType::f16) return static_cast<double>(x.scale) * to_float(x.as<Float16>()[i]);
  return x.dtype == DType::bf16 ? to_float(x.as<BFloat16>()[i]) : x.as<float>()[i];
}

void set(const Tensor& x, std::int64_t row, std::int64_t column, double value) {
  const std::int64_t i = row * x.columns + column;
  if (x.dtype == DType::e4m3) x.as<Float8>()[i] = to_float8(static_cast<float>(value / x.scale));
  else if (x.dtype == DType::f16) x.as<Float16>()[i] = to_float16(static_cast<float>(value / x.scale));
  else if (x.dtype == DType::bf16) x.as<BFloat16>()[i] = to_bfloat16(static_cast<float>(value));
  else x.as<float>()[i] = static_cast<float>(value);
}

std::int32_t index_at(const Tensor& x, std::int64_t row, std::int64_t column) {
  return x.as<std::int32_t>()[row * x.columns + column];
}

// Row r of y becomes value(c).
template <typename Value>
void set_row(const Tensor& y, std::int64_t r, const Value& value) {
  if (y.dtype != DType::i8) {
    for (std::int64_t c = 0; c < y.columns; ++c) set(y, r, c, value(c));
    return;
  }
  std::vector<float> row;
  float largest = 0;
  for (std::int64_t c = 0; c < y.columns; ++c) {
    row.push_back(static_cast<float>(value(c)));
    largest = std::max(largest, std::abs(row.back()));
  }
  y.row_scales[r] = int8_scale(largest);
  for (std::int64_t c = 0; c < y.columns; ++c) {
    y.as<std::int8_t>()[r * y.columns + c] = to_int8(row[static_cast<std::size_t>(c)], y.row_scales[r]);
  }
}

template <typename Function>
void for_elements(const Tensor& y, const Function& function) {
  for (std::int64_t r = 0; r < y.rows; ++r) set_row(y, r, [&](std::int64_t c) { return function(r, c); });
}

// What is read many times: `count` values of a row, from column `begin` on.
std::vector<double> part_of(const Tensor& x, std::int64_t row, std::int64_t begin, std::int64_t count) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(get(x, row, begin + i));
  return values;
}

double product(const std::vector<double>& x, const Linear& w, std::int64_t output) {
  const float* weight = static_cast<const ReferenceWeight*>(w.weight.get())->data() + output * w.inputs;
  double total = w.bias ? get(w.bias, 0, output) : 0.0;
  for (std::size_t k = 0; k < x.size(); ++k) total += x[k] * static_cast<double>(weight[k]);
  return total;
}

double silu_of(double x) { return x / (1.0 + std::exp(-x)); }

// Whether row `row` sees slot `slot`.
bool sees(const Tensor& ranges, std::int64_t row, std::int64_t slot) {
  return (slot >= index_at(ranges, row, 0) && slot < index_at(ranges, row, 1)) ||
         (slot >= index_at(ranges, row, 2) && slot < index_at(ranges, row, 3));
}

}  // namespace

void ReferenceKernels::linear(const Tensor& y, const Tensor& x, const Linear& w) {
  for (std::int64_t r = 0; r < y.rows; ++r) {
    const std::vector<double> row = part_of(x, r, 0, w.inputs);
    set_row(y, r, [&](std::int64_t c) { return product(row, w, c); });
  }
}

void ReferenceKernels::linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) {
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const std::vector<double> row = part_of(x, r, 0, w.inputs);
    set_row(h, r, [&](std::int64_t c) { return get(h, r, c) + (gate ? get(gate, 0, c) : 1.0) * product(row, w, c); });
  }
}

void ReferenceKernels::rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) {
  for (std::int64_t r = 0; r < h.rows; ++r) {
    double squares = 0.0;
    for (std::int64_t c = 0; c < h.columns; ++c) squares += get(h, r, c) * get(h, r, c);
    const double root = std::sqrt(squares / static_cast<double>(h.columns) + 1e-6);
    set_row(y, r, [&](std::int64_t c) {
      return get(norm.scale, 0, c) * get(h, r, c) / root + (norm.shift ? get(norm.shift, 0, c) : 0.0);
    });
  }
}

void ReferenceKernels::split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv,
                                  const Heads& heads, const Rope& rope) {
  const std::int64_t d = heads.size;
  for (std::int64_t r = 0; r < qkv.rows; ++r) {
    const std::int64_t slot = index_at(slots, 0, r);
    const std::int64_t position = index_at(rope.positions, 0, r);
    for (std::int64_t head = 0; head < heads.query + heads.key_value; ++head) {
      const bool query = head < heads.query;
      const Tensor& target = query ? q : cache.keys;
      const std::int64_t row = query ? r : slot;
      const std::int64_t start = (query ? head : head - heads.query) * d;
      for (std::int64_t i = 0; i < d / 2; ++i) {
        const double c = get(rope.cosine, position, i);
        const double s = get(rope.sine, position, i);
        const double x1 = get(qkv, r, head * d + i);
        const double x2 = get(qkv, r, head * d + d / 2 + i);
        set(target, row, start + i, x1 * c - x2 * s);
        set(target, row, start + d / 2 + i, x2 * c + x1 * s);
      }
    }
    for (std::int64_t i = 0; i < heads.key_value * d; ++i) {
      set(cache.values, slot, i, get(qkv, r, (heads.query + heads.key_value) * d + i));
    }
  }
}

void ReferenceKernels::attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Visible& visible,
                                 const Heads& heads) {
  const std::int64_t d = heads.size;
  std::vector<std::int64_t> seen;
  std::vector<double> weights;
  std::vector<std::vector<double>> keys, values;  // of every slot
  for (std::int64_t slot = 0; slot < cache.keys.rows; ++slot) {
    keys.push_back(part_of(cache.keys, slot, 0, heads.key_value * d));
    values.push_back(part_of(cache.values, slot, 0, heads.key_value * d));
  }
  for (std::int64_t r = 0; r < q.rows; ++r) {
    seen.clear();
    for (std::int64_t slot = 0; slot < cache.keys.rows; ++slot) {
      if (sees(visible.ranges, r, slot)) seen.push_back(slot);
    }
    for (std::int64_t head = 0; head < heads.query; ++head) {
      const std::size_t key_start = static_cast<std::size_t>(head / (heads.query / heads.key_value) * d);
      const std::vector<double> query = part_of(q, r, head * d, d);
      double maximum = -std::numeric_limits<double>::infinity();
      weights.clear();
      for (const std::int64_t slot : seen) {
        double score = 0.0;
        const double* key = keys[static_cast<std::size_t>(slot)].data() + key_start;
        for (std::size_t i = 0; i < query.size(); ++i) score += query[i] * key[i];
        weights.push_back(score / std::sqrt(static_cast<double>(d)));
        maximum = std::max(maximum, weights.back());
      }
      double sum = 0.0;
      for (double& weight : weights) sum += weight = std::exp(weight - maximum);
      for (std::int64_t i = 0; i < d; ++i) {
        double total = 0.0;
        for (std::size_t k = 0; k < seen.size(); ++k)
          total += weights[k] * values[static_cast<std::size_t>(seen[k])][key_start + static_cast<std::size_t>(i)];
        set(y, r, head * d + i, seen.empty() ? 0.0 : total / sum);
      }
    }
  }
}

void ReferenceKernels::swiglu(const Tensor& y, const Tensor& x) {
  for_elements(y, [&](std::int64_t r, std::int64_t c) { return silu_of(get(x, r, c)) * get(x, r, y.columns + c); });
}

void ReferenceKernels::silu(const Tensor& y, const Tensor& x) {
  for_elements(y, [&](std::int64_t r, std::int64_t c) { return silu_of(get(x, r, c)); });
}

void ReferenceKernels::gelu(const Tensor& y, const Tensor& x) {
  for_elements(y, [&](std::int64_t r, std::int64_t c) {
    return get(x, r, c) * 0.5 * std::erfc(-get(x, r, c) / std::sqrt(2.0));
  });
}

void ReferenceKernels::gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) {
  for (std::int64_t r = 0; r < y.rows; ++r) {
    const std::int64_t row = index ? index_at(index, 0, r) : r;
    if (row >= 0) set_row(y, r, [&](std::int64_t c) { return get(x, row, c); });
  }
}

void ReferenceKernels::cut_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels,
                                   const PatchGeometry& g) {
  const std::int64_t patches = y.rows / pixels.rows, grid = std::lround(std::sqrt(static_cast<double>(patches)));
  const std::int64_t side = grid * g.patch, blocks = grid / g.merge;
  for_elements(y, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t p = r % patches, block = p / (g.merge * g.merge), within = p % (g.merge * g.merge);
    const std::int64_t patch_row = block / blocks * g.merge + within / g.merge;
    const std::int64_t patch_column = block % blocks * g.merge + within % g.merge;
    const std::int64_t channel = c / (g.temporal * g.patch * g.patch), i = c % (g.patch * g.patch);
    const std::int64_t row = patch_row * g.patch + i / g.patch, column = patch_column * g.patch + i % g.patch;
    const std::uint8_t* image = pixels.as<std::uint8_t>() + r / patches * pixels.columns;
    return get(levels, channel, image[3 * (row * side + column) + channel]);
  });
}

void ReferenceKernels::euler_step(const Tensor& x, const Tensor& v, float dt) {
  for_elements(x,
               [&](std::int64_t r, std::int64_t c) { return get(x, r, c) - static_cast<double>(dt) * get(v, r, c); });
}

}  // namespace nervus
