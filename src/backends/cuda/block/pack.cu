// packed <- W, bf16 or e4m3, in the order of layout.h; folded [1, N] = b + W shift in packed order.
// Work: one thread an element; one warp an output.
// Bound: memory; both run when a policy is loaded.
// Reference: BlockLayout::source_row and offset, tested on the host.
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

__global__ void fold_kernel(float* folded, const __nv_bfloat16* packed, const BlockLayout layout, const float* bias,
                            const float* shift) {
  begin();
  const std::int64_t n = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (n >= layout.outputs) return;
  float sum = 0;
  if (shift != nullptr) {
    for (std::int64_t k = threadIdx.x % 32; k < layout.inputs; k += 32) {
      sum += __bfloat162float(packed[layout.offset(n, k)]) * shift[k];
    }
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
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

void fold_block(const Stream& stream, const Tensor& folded, const BlockProduct& w, const Tensor& bias,
                const Tensor& shift) {
  check(folded.columns == w.layout.outputs, "folded: one value an output");
  launch(stream, {.blocks = dim3(blocks_for(w.layout.outputs, 8)), .threads = 256}, fold_kernel, folded.as<float>(),
         static_cast<const __nv_bfloat16*>(w.packed), w.layout, data<const float>(bias), data<const float>(shift));
}

}  // namespace nervus::cuda
