// packed <- W, bf16 or e4m3, in the order of layout.h; values of the outputs in that order.
// Work: one thread an element; one an output. Bound: memory; both run when a policy is loaded.
// Reference: BlockLayout::source_row and offset, tested on the host.
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/device/fold.cuh"
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
  fold(stream, folded, w.input.dtype, product.packed, product.layout, product.scale, w.input.scale, w.bias, shift);
}

}  // namespace nervus::cuda
