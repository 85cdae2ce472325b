// y = f(x) element by element. A thread takes one pack; memory bounds it.
#pragma once

#include "backends/cuda/launch.cuh"

namespace nervus::cuda {

template <typename F, int N, typename Y, typename X>
__global__ void map_kernel(Output<Y> y, const X* x, std::int64_t packs) {
  begin();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  float values[N];
  load<N>(values, x + i * N);
#pragma unroll
  for (int k = 0; k < N; ++k) values[k] = F::apply(values[k]);
  y.store(i * N, values);
}

template <typename F>
void map(const Stream& stream, const Tensor& y, const Tensor& x) {
  constexpr unsigned threads = 256;
  with_output(y, [&](auto output) {
    with_type(x.dtype, [&](auto x_type) {
      with_pack(y.columns, [&](auto n) {
        using Y = typename decltype(output)::type;
        using X = typename decltype(x_type)::type;
        constexpr int N = decltype(n)::value;
        const std::int64_t packs = y.count() / N;
        launch(stream, {blocks_for(packs, threads), threads}, map_kernel<F, N, Y, X>, output, data<const X>(x), packs);
      });
    });
  });
}

}  // namespace nervus::cuda
