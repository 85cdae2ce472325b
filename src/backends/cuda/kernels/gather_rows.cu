// y = x[index[r]], converted to y's type; a row whose index is negative stays as it is
// y [T, D], x [R, D], index i32 [1, T] or empty for r itself. Blocks (row, part of a row), one pack a thread; bound by
// memory.
// Reference: tests/reference/kernels.cpp, gather_rows.
#include "backends/cuda/device/reductions.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

template <int N, typename Y, typename X>
__global__ void gather_rows_kernel(Output<Y> y, const X* x, const std::int32_t* index, std::int64_t columns) {
  begin();
  const std::int64_t row = blockIdx.x;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  const std::int64_t source = index == nullptr ? row : index[row];
  if (column >= columns || source < 0) return;
  float values[N];
  load<N>(values, x + source * columns + column);
  y.store(row * columns + column, values);
}

constexpr unsigned most_int8_threads = 32 * most_warps;

// Into int8, each row over a scale of its own: one block a row, of which a thread keeps its first packs.
template <int N, typename X>
__global__ void gather_int8_kernel(std::int8_t* y, float* row_scales, const X* x, const std::int32_t* index,
                                   std::int64_t columns) {
  begin();
  const std::int64_t row = blockIdx.x, source = index == nullptr ? row : index[row];
  if (source < 0) return;
  const X* in = x + source * columns;
  std::int8_t* out = y + row * columns;
  const std::int64_t first = threadIdx.x * N, stride = blockDim.x * N;
  constexpr int kept = 3;
  float values[kept][N] = {}, more[N], largest = 0.0f;
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    if (first + k * stride < columns) load<N>(values[k], in + first + k * stride);
  }
  const auto take_in = [&](const float(&some)[N]) {
#pragma unroll
    for (const float value : some) largest = fmaxf(largest, fabsf(value));
  };
#pragma unroll
  for (int k = 0; k < kept; ++k) take_in(values[k]);
  for (std::int64_t i = first + kept * stride; i < columns; i += stride) load<N>(more, in + i), take_in(more);
  largest = block_maximum(largest);
  const float own = int8_scale_of(largest), inverse = 1.0f / own;
  if (threadIdx.x == 0) row_scales[row] = own;
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    if (first + k * stride < columns) store_int8(out + first + k * stride, values[k], inverse);
  }
  for (std::int64_t i = first + kept * stride; i < columns; i += stride) {
    load<N>(more, in + i);
    store_int8(out + i, more, inverse);
  }
}

}  // namespace

void gather_rows(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& index) {
  const std::int32_t* rows = index ? data<const std::int32_t>(index) : nullptr;
  if (y.dtype == DType::i8) {
    return with_type(x.dtype, [&](auto x_type) {
      with_pack(y.columns, [&](auto n) {
        using X = typename decltype(x_type)::type;
        constexpr int N = decltype(n)::value;
        launch(stream, {dim3(static_cast<unsigned>(y.rows)), threads_for(y.columns / N, most_int8_threads)},
               gather_int8_kernel<N, X>, data<std::int8_t>(y), y.row_scales, data<const X>(x), rows, y.columns);
      });
    });
  }
  with_output(y, [&](auto output) {
    output.inverse = x.scale / y.scale;
    with_input_type(x.dtype, [&](auto x_type) {
      with_pack(y.columns, [&](auto n) {
        using Y = typename decltype(output)::type;
        using X = typename decltype(x_type)::type;
        constexpr int N = decltype(n)::value;
        const unsigned threads = threads_for(y.columns / N, 256);
        const dim3 blocks(static_cast<unsigned>(y.rows), blocks_for(y.columns / N, threads));
        launch(stream, {blocks, threads}, gather_rows_kernel<N, Y, X>, output, data<const X>(x), rows, y.columns);
      });
    });
  });
}

}  // namespace nervus::cuda
