// y = x W^T + b, or h += gate * (x W^T + b), for shapes that the library has no kernels for
// x [T, K], W [N, K] of x's type, y [T, N], h f32 [T, N], b and gate f32 [1, N]; of 8 bits the products are multiplied
// by a scale f32 [1, N], and of int8 by one of x's row. One warp for four rows and four outputs: its lanes share the
// sum over K, so that a row's bits do not depend on the others. Bound by the cache. Reference:
// tests/reference/kernels.cpp, linear.
#include "backends/cuda/device/reductions.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

constexpr int tile = 4;
constexpr int warps = 4;  // of a block, along the outputs

template <typename T>
struct Product {
  const T* x;
  const T* weight;
  const float* bias;        // may be null
  const float* gate;        // may be null
  const float* scale;       // may be null
  const float* row_scales;  // may be null
  std::int64_t rows;
  std::int64_t inputs;
  std::int64_t outputs;
};

template <bool add, typename Y, typename T>
__global__ void plain_linear_kernel(Y* y, Product<T> p) {
  begin();
  const int lane = threadIdx.x % 32;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * tile;
  const std::int64_t output = (static_cast<std::int64_t>(blockIdx.y) * warps + threadIdx.x / 32) * tile;
  if (output >= p.outputs) return;
  const T* x[tile];
  const T* w[tile];
#pragma unroll
  for (int i = 0; i < tile; ++i) {  // behind the last row or output: that one again, whose sum is not stored
    x[i] = p.x + min(row + i, p.rows - 1) * p.inputs;
    w[i] = p.weight + min(output + i, p.outputs - 1) * p.inputs;
  }
  float sums[tile][tile] = {};
  for (std::int64_t k = lane; k < p.inputs; k += 32) {
    float left[tile];
    float right[tile];
#pragma unroll
    for (int i = 0; i < tile; ++i) {
      left[i] = as_float(x[i][k]);
      right[i] = as_float(w[i][k]);
    }
#pragma unroll
    for (int i = 0; i < tile; ++i) {
#pragma unroll
      for (int j = 0; j < tile; ++j) sums[i][j] += left[i] * right[j];
    }
  }
  float own = 0.0f;  // of lane i * tile + j
#pragma unroll
  for (int i = 0; i < tile; ++i) {
#pragma unroll
    for (int j = 0; j < tile; ++j) {
      const float sum = warp_sum(sums[i][j]);
      if (lane == i * tile + j) own = sum;
    }
  }
  const std::int64_t my_row = row + lane / tile;
  const std::int64_t my_output = output + lane % tile;
  if (lane >= tile * tile || my_row >= p.rows || my_output >= p.outputs) return;
  if (p.scale != nullptr) own *= p.scale[my_output];
  if (p.row_scales != nullptr) own *= p.row_scales[my_row];
  if (p.bias != nullptr) own += p.bias[my_output];
  if (p.gate != nullptr) own *= p.gate[my_output];
  Y& target = y[my_row * p.outputs + my_output];
  target = from_float<Y>(add ? as_float(target) + own : own);
}

}  // namespace

void plain_linear(const Stream& stream, const LinearCall& call, const Tensor& weight) {
  const dim3 blocks(blocks_for(call.y.rows, tile), blocks_for(call.y.columns, tile * warps));
  const auto with_factor_type = [&](const auto& run) {
    if (call.x.dtype == DType::i8) return run(Type<std::int8_t>{});
    with_input_type(call.x.dtype, run);
  };
  with_type(call.y.dtype, [&](auto y_type) {
    with_factor_type([&](auto type) {
      using Y = typename decltype(y_type)::type;
      using T = typename decltype(type)::type;
      const Product<T> product{.x = data<const T>(call.x),
                               .weight = data<const T>(weight),
                               .bias = call.bias ? data<const float>(call.bias) : nullptr,
                               .gate = call.gate ? data<const float>(call.gate) : nullptr,
                               .scale = call.scale ? data<const float>(call.scale) : nullptr,
                               .row_scales = call.x.row_scales,
                               .rows = call.y.rows,
                               .inputs = call.x.columns,
                               .outputs = call.y.columns};
      const auto kernel = call.add ? plain_linear_kernel<true, Y, T> : plain_linear_kernel<false, Y, T>;
      launch(stream, {blocks, warps * 32}, kernel, data<Y>(call.y), product);
    });
  });
}

}  // namespace nervus::cuda
