// The largest |x| of a tensor; NaN counts as infinite
// Work: a grid of warps, each over its share; the largest meet as bits of a float, which order as integers do.
// Bound: memory; it runs when a policy is loaded. Reference: tests/backends/cuda_test.cpp.
#include <algorithm>
#include <cmath>

#include "backends/cuda/device/reductions.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

constexpr unsigned threads = 256, most_blocks = 1024;

template <typename T>
__global__ void largest_kernel(unsigned* found, const T* x, std::int64_t count) {
  begin();
  float largest = 0.0f;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * threads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x; i < count; i += stride) {
    const float size = fabsf(as_float(x[i]));
    largest = fmaxf(largest, isnan(size) ? INFINITY : size);
  }
  largest = warp_maximum(largest);
  if (threadIdx.x % 32 == 0) atomicMax(found, __float_as_uint(largest));
}

}  // namespace

float largest(const Stream& stream, const Tensor& x) {
  stream.use();
  const DeviceBuffer found = device_buffer(sizeof(unsigned));
  check_cuda(cudaMemsetAsync(found.get(), 0, sizeof(unsigned), stream.get()), "clearing memory");
  with_input_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch(stream, {dim3(std::min(blocks_for(x.count(), threads), most_blocks)), threads}, largest_kernel<T>,
           static_cast<unsigned*>(found.get()), data<const T>(x), x.count());
  });
  float value = 0;
  check_cuda(cudaMemcpyAsync(&value, found.get(), sizeof(value), cudaMemcpyDeviceToHost, stream.get()),
             "asking for the largest value");
  stream.synchronize();
  return value;
}

}  // namespace nervus::cuda
