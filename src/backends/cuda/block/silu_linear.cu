// y [T, N] = silu(x W^T + b) for x f32 of at most 80 columns; y bf16, tiled or not; rows of y before x's are zero.
// Work: a block makes 32 outputs of 16 rows; a thread keeps its output's weights in registers, loaded before the
// dependency wait, and takes two rows. Bound: latency; 768 x 75 are 0.2 MB of weights and 3 M multiply-adds.
// Reference: ReferenceKernels::linear, silu.
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

constexpr int most_inputs = 80, outputs_each = 32, warps = 8, tile_rows = 16;

__global__ void __launch_bounds__(warps * 32)
    silu_linear_kernel(__nv_bfloat16* y, bool tiled, const float* x, const float* weight, const float* bias, int rows,
                       int first, int inputs, int outputs) {
  __shared__ __align__(16) float tile[tile_rows][most_inputs];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int column = blockIdx.x * outputs_each + lane, first_row = blockIdx.y * tile_rows;
  float w[most_inputs];
#pragma unroll
  for (int k = 0; k < most_inputs; ++k) w[k] = k < inputs ? weight[static_cast<std::int64_t>(k) * outputs + column] : 0;
  const float offset = bias != nullptr ? bias[column] : 0;
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
  for (int i = threadIdx.x; i < tile_rows * most_inputs; i += warps * 32) {
    const int row = first_row + i / most_inputs, k = i % most_inputs;
    const bool there = row >= first && row < rows && k < inputs;
    tile[i / most_inputs][k] = there ? __ldcg(x + static_cast<std::int64_t>(row - first) * inputs + k) : 0;
  }
  __syncthreads();
  for (int local = warp; local < tile_rows; local += warps) {
    const int row = first_row + local;
    if (row >= rows) return;
    float sums[4] = {offset, 0, 0, 0};
#pragma unroll
    for (int k = 0; k < most_inputs; k += 4) {
      const float4 values = *reinterpret_cast<const float4*>(&tile[local][k]);
      sums[0] += w[k] * values.x, sums[1] += w[k + 1] * values.y;
      sums[2] += w[k + 2] * values.z, sums[3] += w[k + 3] * values.w;
    }
    const float value = row < first ? 0.0f : sigmoid_product((sums[0] + sums[1]) + (sums[2] + sums[3]));
    const float next = __shfl_down_sync(~0u, value, 1);
    if (lane % 2 == 0) {
      const int at = tiled ? tiled_offset(row, column, outputs) : row * outputs + column;
      *reinterpret_cast<__nv_bfloat162*>(y + at) = __floats2bfloat162_rn(value, next);
    }
  }
}

}  // namespace

bool silu_linear_fits(const Linear& w) { return w.inputs <= most_inputs && w.outputs % outputs_each == 0; }

void silu_linear(const Stream& stream, const Tensor& y, const Tensor& x, const Linear& w) {
  const auto& weight = *static_cast<const Tensor*>(w.weight.get());
  launch(stream,
         {.blocks = dim3(blocks_for(w.outputs, outputs_each), blocks_for(y.rows, tile_rows)), .threads = warps * 32},
         silu_linear_kernel, data<__nv_bfloat16>(y), y.tiled, data<const float>(x), data<const float>(weight),
         data<const float>(w.bias), static_cast<int>(y.rows), static_cast<int>(y.rows - x.rows),
         static_cast<int>(w.inputs), static_cast<int>(w.outputs));
}

}  // namespace nervus::cuda
