// y = x W^T + b and h += gate * (x W^T + b) of f32 or bf16, summed in float32, for vector_kernels.cpp alone: the
// linears of processors on which oneDNN's sums depend on the number of rows and threads, or which have no bf16 of their
// own.
//
// W lies in panels of `panel` outputs, [N / panel, K, panel]. A block of rows x a panel is held in registers over
// `depth` inputs (all of them where y is bf16, so that it is rounded once); threads divide the panels. Sums go up along
// K, whatever the row's place. Reference:
// tests/reference/kernels.cpp.
#pragma once

#include "backends/cpu/simd.h"

namespace nervus::NERVUS_TARGET {
namespace {

constexpr int panel = 2 * lanes;
constexpr std::int64_t depth = 512;

inline float element(float x) { return x; }
inline float element(Bits16 x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// Rows [row, row + rows) x outputs [output, output + panel) x inputs [first, first + count). X is the type of x and W.
template <int rows, typename X, typename Y>
void multiply_block(const PanelProduct& p, std::int64_t row, std::int64_t output, std::int64_t first,
                    std::int64_t count) {
  const std::int64_t inputs = p.x.columns;
  const std::int64_t outputs = p.y.columns;
  const X* x = static_cast<const X*>(p.x.data) + row * inputs + first;
  const X* weight = static_cast<const X*>(p.panels) + output * inputs + first * panel;
  Floats total[rows][2] = {};
  for (std::int64_t k = 0; k < count; ++k) {
    const Floats low = load(weight + k * panel);
    const Floats high = load(weight + k * panel + lanes);
    for (int r = 0; r < rows; ++r) {
      const float value = element(x[r * inputs + k]);
      total[r][0] += value * low;
      total[r][1] += value * high;
    }
  }
  for (int v = 0; v < 2 && output + v * lanes < outputs; ++v) {
    const std::int64_t column = output + v * lanes;
    for (int r = 0; r < rows; ++r) {
      Y* y = static_cast<Y*>(p.y.data) + (row + r) * outputs;
      Floats sum = total[r][v];
      if (first == 0 && p.bias) sum += load_at(p.bias, column, outputs);
      if (p.gate) sum *= load_at(p.gate, column, outputs);
      if (p.add || first > 0) sum += load_at(y, column, outputs);
      store_at(y, sum, column, outputs);
    }
  }
}

template <typename X, typename Y>
void multiply_as(const PanelProduct& p, int threads) {
  const std::int64_t inputs = p.x.columns;
  const std::int64_t step = sizeof(Y) == sizeof(float) ? depth : inputs;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t output = 0; output < p.y.columns; output += panel) {
    for (std::int64_t first = 0; first < inputs; first += step) {
      const std::int64_t count = inputs - first < step ? inputs - first : step;
      std::int64_t row = 0;
      for (; row + 6 <= p.y.rows; row += 6) multiply_block<6, X, Y>(p, row, output, first, count);
      for (; row + 3 <= p.y.rows; row += 3) multiply_block<3, X, Y>(p, row, output, first, count);
      for (; row < p.y.rows; ++row) multiply_block<1, X, Y>(p, row, output, first, count);
    }
  }
}

void multiply(const PanelProduct& p, int threads) {
  if (p.x.dtype == DType::f32) multiply_as<float, float>(p, threads);
  else if (p.y.dtype == DType::f32) multiply_as<Bits16, float>(p, threads);
  else multiply_as<Bits16, Bits16>(p, threads);
}

}  // namespace
}  // namespace nervus::NERVUS_TARGET
