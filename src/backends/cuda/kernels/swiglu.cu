// y = silu(x[:, :F]) * x[:, F:]
// y [T, F], x [T, 2 F]. Blocks (row, part of a row), one pack a thread; bound by memory.
// Reference: tests/reference/kernels.cpp, swiglu.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

template <int N, typename Y, typename X>
__global__ void swiglu_kernel(Output<Y> y, const X* x, std::int64_t columns) {
  begin();
  const std::int64_t row = blockIdx.x;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  if (column >= columns) return;
  const X* in = x + row * 2 * columns + column;
  float gate[N];
  float up[N];
  load<N>(gate, in);
  load<N>(up, in + columns);
#pragma unroll
  for (int k = 0; k < N; ++k) gate[k] = sigmoid_product(gate[k]) * up[k];
  y.store(row * columns + column, gate);
}

}  // namespace

void swiglu(const Stream& stream, const Tensor& y, const Tensor& x) {
  with_output(y, [&](auto output) {
    with_type(x.dtype, [&](auto x_type) {
      with_pack(y.columns, [&](auto n) {
        using Y = typename decltype(output)::type;
        using X = typename decltype(x_type)::type;
        constexpr int N = decltype(n)::value;
        const unsigned threads = threads_for(y.columns / N, 256);
        const dim3 blocks(static_cast<unsigned>(y.rows), blocks_for(y.columns / N, threads));
        launch(stream, {blocks, threads}, swiglu_kernel<N, Y, X>, output, data<const X>(x), y.columns);
      });
    });
  });
}

}  // namespace nervus::cuda
