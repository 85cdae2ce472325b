// folded [N] = b + W shift: what becomes of a norm's shift where the norm is no pass of its own (Device::fold).
// Work: one warp an output. Bound: memory; it runs when a policy is loaded. Reference: the tests of fused blocks.
#pragma once

#include "backends/cuda/launch.cuh"

namespace nervus::cuda {

// `layout` says where element (output n, input k) of the packed weight lies, and which output of the bias n is. `unit`:
// of e4m3, what an output's code counts times 1 / inverse, otherwise null.
template <typename T, typename Layout>
__global__ void fold_kernel(float* folded, const T* packed, const Layout layout, const float* unit, float inverse,
                            const float* bias, const float* shift) {
  begin();
  const std::int64_t n = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (n >= layout.outputs) return;
  float sum = 0;
  if (shift != nullptr) {
    for (std::int64_t k = threadIdx.x % 32; k < layout.inputs; k += 32) {
      sum += as_float(packed[layout.offset(n, k)]) * shift[k];
    }
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (unit != nullptr) sum *= unit[n] * inverse;
  }
  if (threadIdx.x % 32 == 0) folded[n] = sum + (bias != nullptr ? bias[layout.source_row(n)] : 0.0f);
}

// Of a weight in e4m3 or bf16.
template <typename Layout>
void fold(const Stream& stream, const Tensor& folded, DType dtype, const void* packed, const Layout& layout,
          const Tensor& unit, float input_scale, const Tensor& bias, const Tensor& shift) {
  const auto start = [&]<typename T>(const T* weight) {
    launch(stream, {.blocks = dim3(blocks_for(layout.outputs, 8)), .threads = 256}, fold_kernel<T, Layout>,
           folded.as<float>(), weight, layout, data<const float>(unit), 1.0f / input_scale, data<const float>(bias),
           data<const float>(shift));
  };
  if (dtype == DType::e4m3) start(static_cast<const __nv_fp8_e4m3*>(packed));
  else start(static_cast<const __nv_bfloat16*>(packed));
}

}  // namespace nervus::cuda
