// x -= dt * v
// x, v f32 [T, D]. One element a thread; bound by the launch.
// Reference: tests/reference/kernels.cpp, euler_step.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

__global__ void euler_step_kernel(float* x, const float* v, float dt, std::int64_t count) {
  begin();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) x[i] -= dt * v[i];
}

}  // namespace

void euler_step(const Stream& stream, const Tensor& x, const Tensor& v, float dt) {
  constexpr unsigned threads = 128;
  launch(stream, {blocks_for(x.count(), threads), threads}, euler_step_kernel, data<float>(x), data<const float>(v), dt,
         x.count());
}

}  // namespace nervus::cuda
