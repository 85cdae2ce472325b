// y [N, K] <- the rows of x [N, K] in the order in which a wide kernel makes the outputs; folded [1, N] = b + W shift
// Work: one block a row; one warp an output. Bound: memory; both run when a policy is loaded.
// Reference: wide_source_row, tested on the host.
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

// `unit`: of e4m3, what an output's code counts times 1 / inverse.
template <typename T>
__global__ void wide_fold_kernel(float* folded, const T* weight, std::int64_t outputs, std::int64_t inputs,
                                 const float* unit, float inverse, const float* bias, const float* shift) {
  begin();
  const std::int64_t n = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (n >= outputs) return;
  float sum = 0;
  if (shift != nullptr) {
    for (std::int64_t k = threadIdx.x % 32; k < inputs; k += 32) sum += as_float(weight[n * inputs + k]) * shift[k];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (unit != nullptr) sum *= unit[n] * inverse;
  }
  if (threadIdx.x % 32 == 0) folded[n] = sum + (bias != nullptr ? bias[n] : 0.0f);
}

}  // namespace

void wide_fold(const Stream& stream, const Tensor& folded, const WideProduct& product, const Tensor& shift,
               float input_scale) {
  const Tensor& weight = product.weight;
  const auto start = [&](auto* codes) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(codes)>>;
    launch(stream, {.blocks = dim3(blocks_for(weight.rows, 8)), .threads = 256}, wide_fold_kernel<T>,
           folded.as<float>(), codes, weight.rows, weight.columns, data<const float>(product.scale), 1.0f / input_scale,
           data<const float>(product.bias), data<const float>(shift));
  };
  if (weight.dtype == DType::e4m3) start(data<const __nv_fp8_e4m3>(weight));
  else start(data<const __nv_bfloat16>(weight));
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
