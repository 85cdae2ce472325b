// y = scale * h / sqrt(mean(h^2) + 1e-6) + shift, in float32
// y [T, D], h f32 [T, D], scale and shift f32 [1, D]. One block a row, one pack a thread and turn; bound by the latency
// of a read: constants of the first turn are there before the dependency wait, and its values stay in registers.
// Reference: tests/reference/kernels.cpp, rms_norm.
#include "backends/cuda/device/reductions.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/trace.cuh"

namespace nervus::cuda {
namespace {

constexpr unsigned most_threads = 512;
static_assert(most_threads <= 32 * most_warps);

// The sum of each x, and the largest y.
__device__ float2 block_sum_and_maximum(float2 found) {
  return across_warps(float2{warp_sum(found.x), warp_maximum(found.y)}, [](float2 a, float2 b) {
    return float2{a.x + b.x, fmaxf(a.y, b.y)};
  });
}

// Of one pack.
template <int N>
struct Constants {
  float factors[N];
  float offsets[N] = {};

  __device__ void load(const float* scale, const float* shift, std::int64_t at) {
    cuda::load<N>(factors, scale + at);
    if (shift != nullptr) cuda::load<N>(offsets, shift + at);
  }
};

template <int N, typename Y>
__global__ void rms_norm_kernel(Output<Y> y, const float* h, const float* scale, const float* shift,
                                std::int64_t columns, Trace trace) {
  trace.begun();
  const std::int64_t start = blockIdx.x * columns;
  const std::int64_t first = threadIdx.x * N;
  const std::int64_t stride = blockDim.x * N;
  Constants<N> constants;
  float values[N] = {};
  if (first < columns) constants.load(scale, shift, first);
  const float inverse_width = 1.0f / static_cast<float>(columns);
  begin();
  trace.free();
  float squares = 0.0f;
  if (first < columns) load<N>(values, h + start + first);
#pragma unroll
  for (int k = 0; k < N; ++k) squares += values[k] * values[k];
  for (std::int64_t i = first + stride; i < columns; i += stride) {
    float more[N];
    load<N>(more, h + start + i);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += more[k] * more[k];
  }
  const float inverse = rsqrtf(block_sum(squares) * inverse_width + 1e-6f);
  for (std::int64_t i = first; i < columns; i += stride) {
    if (i > first) {
      load<N>(values, h + start + i);
      constants.load(scale, shift, i);
    }
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = values[k] * inverse * constants.factors[k] + constants.offsets[k];
    y.store(start + i, values);
  }
  trace.ended();
}

// The same as int8, each row over a scale of its own.
template <int N>
__global__ void rms_norm_int8_kernel(std::int8_t* y, float* row_scales, const float* h, const float* scale,
                                     const float* shift, std::int64_t columns, Trace trace) {
  trace.begun();
  const std::int64_t start = blockIdx.x * columns, first = threadIdx.x * N, stride = blockDim.x * N;
  Constants<N> constants;
  float values[N] = {};
  if (first < columns) constants.load(scale, shift, first);
  const float inverse_width = 1.0f / static_cast<float>(columns);
  begin();
  trace.free();
  float squares = 0.0f;
  for (std::int64_t i = first; i < columns; i += stride) {
    load<N>(values, h + start + i);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += values[k] * values[k];
  }
  const float inverse = rsqrtf(block_sum(squares) * inverse_width + 1e-6f);
  const bool once = columns <= stride;  // what was read is still there
  const auto normalise = [&](std::int64_t i) {
    if (!once) load<N>(values, h + start + i), constants.load(scale, shift, i);
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = values[k] * inverse * constants.factors[k] + constants.offsets[k];
  };
  float largest = 0.0f;
  for (std::int64_t i = first; i < columns; i += stride) {
    normalise(i);
#pragma unroll
    for (int k = 0; k < N; ++k) largest = fmaxf(largest, fabsf(values[k]));
  }
  const float own = int8_scale_of(block_maximum(largest)), over = 1.0f / own;
  if (threadIdx.x == 0) row_scales[blockIdx.x] = own;
  for (std::int64_t i = first; i < columns; i += stride) {
    if (!once) normalise(i);
    store_int8(y + start + i, values, over);
  }
  trace.ended();
}

// The same of rows that stay in registers, without shift. Which value is the largest behind the norm is known before
// it, so that the warps meet once, not twice. Where the norm's scale is 1, as a rotated stream's, the bits are those of
// the other kernel: 1 / rms rounds the largest as it rounds the rest. Otherwise a row's scale may differ in its last
// bits.
template <int N>
__global__ void rms_norm_int8_at_once_kernel(std::int8_t* y, float* row_scales, const float* h, const float* scale,
                                             std::int64_t columns, Trace trace) {
  trace.begun();
  const std::int64_t first = threadIdx.x * N, start = blockIdx.x * columns + first;
  const bool there = first < columns;
  float factors[N] = {}, values[N] = {};
  if (there) load<N>(factors, scale + first);
  const float inverse_width = 1.0f / static_cast<float>(columns);
  begin();
  trace.free();
  if (there) load<N>(values, h + start);
  float2 found{};
#pragma unroll
  for (int k = 0; k < N; ++k) {
    found.x += values[k] * values[k];
    found.y = fmaxf(found.y, fabsf(values[k] * factors[k]));
  }
  found = block_sum_and_maximum(found);
  const float inverse = rsqrtf(found.x * inverse_width + 1e-6f);
  const float own = int8_scale_of(found.y * inverse), over = 1.0f / own;
  if (threadIdx.x == 0) row_scales[blockIdx.x] = own;
  if (!there) return;
#pragma unroll
  for (int k = 0; k < N; ++k) values[k] = values[k] * inverse * factors[k];
  store_int8(y + start, values, over);
  trace.ended();
}

}  // namespace

void rms_norm(const Stream& stream, const Tensor& y, const Tensor& h, const Norm& norm) {
  if (y.dtype == DType::i8) {
    return with_pack(y.columns, [&](auto n) {
      constexpr int N = decltype(n)::value;
      const Shape shape{dim3(static_cast<unsigned>(y.rows)), threads_for(y.columns / N, most_threads)};
      if (!norm.shift && y.columns <= N * most_threads)
        return launch(stream, shape, rms_norm_int8_at_once_kernel<N>, data<std::int8_t>(y), y.row_scales,
                      data<const float>(h), data<const float>(norm.scale), y.columns, trace_launch("norm", y.columns));
      launch(stream, shape, rms_norm_int8_kernel<N>, data<std::int8_t>(y), y.row_scales, data<const float>(h),
             data<const float>(norm.scale), norm.shift ? data<const float>(norm.shift) : nullptr, y.columns,
             trace_launch("norm", y.columns));
    });
  }
  with_output(y, [&](auto output) {
    with_pack(y.columns, [&](auto n) {
      using Y = typename decltype(output)::type;
      constexpr int N = decltype(n)::value;
      const float* shift = norm.shift ? data<const float>(norm.shift) : nullptr;
      launch(stream, {dim3(static_cast<unsigned>(y.rows)), threads_for(y.columns / N, most_threads)},
             rms_norm_kernel<N, Y>, output, data<const float>(h), data<const float>(norm.scale), shift, y.columns,
             trace_launch("norm", y.columns));
    });
  });
}

}  // namespace nervus::cuda
