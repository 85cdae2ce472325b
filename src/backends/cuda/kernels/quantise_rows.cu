// y = x / s, e4m3 or int8, where s of a row is its largest |x| over the format's; the scale kept is s times that of
// what y is multiplied by y [N, K], x bf16 [N, K], scale f32 [1, N]. One block a row; bound by memory, at load only.
// Reference: tests/reference/device.cpp, quantise.
#include "backends/cuda/device/reductions.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "core/float8.h"
#include "core/int8.h"

namespace nervus::cuda {
namespace {

constexpr unsigned threads = 256;

template <typename Y>
__global__ void quantise_rows_kernel(Y* y, float* scale, const __nv_bfloat16* x, float input_scale,
                                     std::int64_t columns) {
  begin();
  const std::int64_t start = blockIdx.x * columns;
  float largest = 0.0f;
  for (std::int64_t i = threadIdx.x; i < columns; i += threads) largest = fmaxf(largest, fabsf(as_float(x[start + i])));
  largest = block_maximum(largest);
  constexpr bool integers = std::is_same_v<Y, std::int8_t>;
  const float most = integers ? largest_int8 : Float8::largest;
  const float own = largest > 0.0f ? largest / most : 1.0f;
  if (threadIdx.x == 0) scale[blockIdx.x] = own * input_scale;
  for (std::int64_t i = threadIdx.x; i < columns; i += threads) {
    const float values[1] = {as_float(x[start + i])};
    if constexpr (integers) store_int8(y + start + i, values, 1.0f / own);
    else y[start + i] = from_float<Y>(values[0] / own);
  }
}

}  // namespace

void quantise_rows(const Stream& stream, const Tensor& y, const Tensor& scale, const Tensor& x, float input_scale) {
  const auto run = [&](auto* codes) {
    launch(stream, {dim3(static_cast<unsigned>(y.rows)), threads}, quantise_rows_kernel<std::decay_t<decltype(*codes)>>,
           codes, data<float>(scale), data<const __nv_bfloat16>(x), input_scale, y.columns);
  };
  if (y.dtype == DType::i8) run(data<std::int8_t>(y));
  else run(data<__nv_fp8_e4m3>(y));
}

}  // namespace nervus::cuda
