// y = scale * sum + b, or h += gate * (scale * sum + b): what a product leaves to do where the library cannot
// y [T, N], h f32 [T, N], sum f32 [T, N]; scale, b and gate f32 [1, N], each may be missing. Blocks (row, part of a
// row), one pack a thread; bound by memory. Reference: tests/reference/kernels.cpp, linear and linear_add.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

struct Rest {
  const float* scale;
  const float* bias;
  const float* gate;
};

template <int N, bool add, typename Y>
__global__ void finish_linear_kernel(Y* y, const float* sum, Rest rest, std::int64_t columns) {
  begin();
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  if (column >= columns) return;
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * columns + column;
  float values[N];
  float other[N];
  load<N>(values, sum + at);
  if (rest.scale != nullptr) {
    load<N>(other, rest.scale + column);
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] *= other[k];
  }
  if (rest.bias != nullptr) {
    load<N>(other, rest.bias + column);
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] += other[k];
  }
  if (rest.gate != nullptr) {
    load<N>(other, rest.gate + column);
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] *= other[k];
  }
  if constexpr (add) {
    load<N>(other, y + at);
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] += other[k];
  }
  store<N>(y + at, values);
}

}  // namespace

void finish_linear(const Stream& stream, const LinearCall& call, const Tensor& sum) {
  const auto or_null = [](const Tensor& x) { return x ? data<const float>(x) : nullptr; };
  const Rest rest{or_null(call.scale), or_null(call.bias), or_null(call.gate)};
  with_type(call.y.dtype, [&](auto y_type) {
    with_pack(sum.columns, [&](auto n) {
      using Y = typename decltype(y_type)::type;
      constexpr int N = decltype(n)::value;
      const unsigned threads = threads_for(sum.columns / N, 256);
      const dim3 blocks(static_cast<unsigned>(sum.rows), blocks_for(sum.columns / N, threads));
      const auto kernel = call.add ? finish_linear_kernel<N, true, Y> : finish_linear_kernel<N, false, Y>;
      launch(stream, {blocks, threads}, kernel, data<Y>(call.y), data<const float>(sum), rest, sum.columns);
    });
  });
}

bool has_kernels_for_current_device() {
  cudaFuncAttributes attributes{};
  const cudaError_t status = cudaFuncGetAttributes(&attributes, finish_linear_kernel<1, true, float>);
  if (status == cudaErrorInvalidDeviceFunction || status == cudaErrorNoKernelImageForDevice ||
      status == cudaErrorUnsupportedPtxVersion) {
    cudaGetLastError();
    return false;
  }
  check_cuda(status, "asking for kernels");
  return true;
}

}  // namespace nervus::cuda
