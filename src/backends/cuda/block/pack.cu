// packed <- W, bf16 or e4m3, in the order of layout.h; values of the outputs in that order; folded [1, N] = b + W
// shift. Work: one thread an element; one an output; one warp an output. Bound: memory; all run when a policy is
// loaded. Reference: BlockLayout::source_row and offset, tested on the host.
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

template <typename T>
__global__ void pack_kernel(T* packed, const T* weight, const BlockLayout layout) {
  begin();
  const std::int64_t k = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x, n = blockIdx.y;
  if (k < layout.inputs && n < layout.outputs) {
    packed[layout.offset(n, k)] = weight[layout.source_row(n) * layout.inputs + k];
  }
}

__global__ void order_kernel(float* packed, const float* values, const BlockLayout layout) {
  begin();
  const std::int64_t n = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (n < layout.outputs) packed[n] = values[layout.source_row(n)];
}

// `unit`: of e4m3, what an output's code counts times 1 / inverse.
template <typename T>
__global__ void fold_kernel(float* folded, const T* packed, const BlockLayout layout, const float* unit, float inverse,
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
    if constexpr (sizeof(T) == 1) sum *= unit[n] * inverse;
  }
  if (threadIdx.x % 32 == 0) folded[n] = sum + (bias != nullptr ? bias[layout.source_row(n)] : 0.0f);
}

}  // namespace

void pack_block(const Stream& stream, void* packed, const void* weight, const BlockLayout& layout) {
  stream.use();
  check_cuda(cudaMemsetAsync(packed, 0, static_cast<std::size_t>(layout.elements() * layout.element), stream.get()),
             "clearing a weight");
  const auto start = [&](auto* target) {
    using T = std::remove_pointer_t<decltype(target)>;
    launch(stream,
           {.blocks = dim3(blocks_for(layout.inputs, 128), static_cast<unsigned>(layout.outputs)), .threads = 128},
           pack_kernel<T>, target, static_cast<const T*>(weight), layout);
  };
  if (layout.element == 1) start(static_cast<__nv_fp8_e4m3*>(packed));
  else start(static_cast<__nv_bfloat16*>(packed));
}

void order_block(const Stream& stream, const Tensor& packed, const Tensor& values, const BlockLayout& layout) {
  launch(stream, {.blocks = dim3(blocks_for(layout.outputs, 256)), .threads = 256}, order_kernel, packed.as<float>(),
         data<const float>(values), layout);
}

void fold_block(const Stream& stream, const Tensor& folded, const Linear& w, const Tensor& shift) {
  const auto& product = *static_cast<const BlockProduct*>(w.weight.get());
  check(folded.columns == product.layout.outputs, "folded: one value an output");
  const auto start = [&](auto* packed) {
    launch(stream, {.blocks = dim3(blocks_for(w.outputs, 8)), .threads = 256},
           fold_kernel<std::remove_const_t<std::remove_pointer_t<decltype(packed)>>>, folded.as<float>(), packed,
           product.layout, data<const float>(product.scale), 1.0f / w.input.scale, data<const float>(w.bias),
           data<const float>(shift));
  };
  if (product.layout.element == 1) start(static_cast<const __nv_fp8_e4m3*>(product.packed));
  else start(static_cast<const __nv_bfloat16*>(product.packed));
}

}  // namespace nervus::cuda
