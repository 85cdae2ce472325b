// y = scale * h / sqrt(mean(h^2) + 1e-6) + shift, in float32
// y [T, D], h f32 [T, D], scale and shift f32 [1, D]. One block a row, one pack a thread and turn; bound by the latency
// of two reads, the second from the first-level cache.
// Reference: tests/reference/kernels.cpp, rms_norm.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

constexpr unsigned most_threads = 512;

// The sum over the block's threads, the same in each.
__device__ float block_sum(float x) {
  __shared__ float parts[most_threads / 32];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0.0f;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) total += parts[i];
  return total;
}

template <int N, typename Y>
__global__ void rms_norm_kernel(Output<Y> y, const float* h, const float* scale, const float* shift,
                                std::int64_t columns) {
  begin();
  const std::int64_t start = blockIdx.x * columns;
  const std::int64_t first = threadIdx.x * N;
  const std::int64_t stride = blockDim.x * N;
  float squares = 0.0f;
  for (std::int64_t i = first; i < columns; i += stride) {
    float values[N];
    load<N>(values, h + start + i);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += values[k] * values[k];
  }
  const float inverse = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(columns) + 1e-6f);
  for (std::int64_t i = first; i < columns; i += stride) {
    float values[N];
    float factors[N];
    float offsets[N] = {};
    load<N>(values, h + start + i);
    load<N>(factors, scale + i);
    if (shift != nullptr) load<N>(offsets, shift + i);
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = values[k] * inverse * factors[k] + offsets[k];
    y.store(start + i, values);
  }
}

}  // namespace

void rms_norm(const Stream& stream, const Tensor& y, const Tensor& h, const Norm& norm) {
  with_output(y, [&](auto output) {
    with_pack(y.columns, [&](auto n) {
      using Y = typename decltype(output)::type;
      constexpr int N = decltype(n)::value;
      const float* shift = norm.shift ? data<const float>(norm.shift) : nullptr;
      launch(stream, {dim3(static_cast<unsigned>(y.rows)), threads_for(y.columns / N, most_threads)},
             rms_norm_kernel<N, Y>, output, data<const float>(h), data<const float>(norm.scale), shift, y.columns);
    });
  });
}

}  // namespace nervus::cuda
