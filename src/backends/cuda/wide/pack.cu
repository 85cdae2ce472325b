// y [N, K] <- the rows of x [N, K] in the order in which a wide kernel makes the outputs
// Work: one block a row. Bound: memory; it runs when a policy is loaded.
// Reference: wide_source_row, tested on the host.
#include "backends/cuda/device/fold.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/wide/kernels.h"

namespace nervus::cuda {
namespace {

struct Order {
  std::int64_t half;   // of a head or of all outputs: how far apart the two values lie
  std::int64_t whole;  // outputs that repeat the order
};

template <typename T>
__global__ void wide_pack_kernel(T* y, const T* x, std::int64_t columns, Order order) {
  begin();
  const std::int64_t n = blockIdx.x, channel = n / 16 * 8 + n % 8, second = n % 16 / 8;
  const std::int64_t source = channel / order.half * order.whole + channel % order.half + second * order.half;
  for (std::int64_t i = threadIdx.x; i < columns; i += blockDim.x) y[n * columns + i] = x[source * columns + i];
}

// Rows as they lie, of what was packed before.
struct RowMajor {
  std::int64_t outputs, inputs;

  __device__ std::int64_t offset(std::int64_t n, std::int64_t k) const { return n * inputs + k; }
  __device__ std::int64_t source_row(std::int64_t n) const { return n; }
};

}  // namespace

void wide_fold(const Stream& stream, const Tensor& folded, const WideProduct& product, const Tensor& shift,
               float input_scale) {
  const Tensor& weight = product.weight;
  cuda::fold(stream, folded, weight.dtype, weight.data, RowMajor{weight.rows, weight.columns}, product.scale,
             input_scale, product.bias, shift);
}

void wide_pack(const Stream& stream, const Tensor& y, const Tensor& x, WideRole role, std::int64_t head_size) {
  const std::int64_t outputs = x.dtype == DType::f32 ? x.columns : x.rows, columns = x.count() / outputs;
  const std::int64_t whole = apart(role) == WideRole::qkv ? head_size : apart(role) == WideRole::add ? 16 : outputs;
  with_input_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch(stream, {.blocks = dim3(static_cast<unsigned>(outputs)), .threads = threads_for(columns, 256)},
           wide_pack_kernel<T>, data<T>(y), data<const T>(x), columns, Order{whole / 2, whole});
  });
}

}  // namespace nervus::cuda
