// y [T, F] = silu(g) u with g, u = norm(h) W^T + b.
// Work: product_sm90.cuh; gate and up of a channel are neighbours, so one thread holds both.
// Bound: see product_sm90.cuh; 5504 x 768 at 51 rows are 8.5 MB of weights, 1.9 us at memory rate.
// Reference: ReferenceKernels::rms_norm, linear, swiglu.
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/launch_sm90.cuh"
#include "backends/cuda/block/product_sm90.cuh"

namespace nervus::cuda {
namespace {

struct GateUpEpilogue {
  static constexpr bool normed = true;
  static constexpr int blocks = 2;
  static constexpr int shared_bytes = 0;
  const float* bias;  // packed order
  __nv_bfloat16* y;   // tiled
  int width;          // F

  struct Constants {
    float2 bias[2];
  };
  struct Inputs {};

  __device__ Constants constants(int, int output, int, std::byte*) const {
    Constants c{};
    if (output / 2 >= width) return c;
    for (int i = 0; i < 2; ++i) c.bias[i] = *reinterpret_cast<const float2*>(bias + output + 8 * i);
    return c;
  }
  __device__ Inputs inputs(int, int, int, std::byte*) const { return {}; }

  static __device__ float swiglu(float gate, float up) { return __fdividef(gate, 1.0f + __expf(-gate)) * up; }

  __device__ void finish(int row, int output, int, const float4 (&sum)[2], const Constants& c, const Inputs&,
                         std::byte*) const {
    const int channel = output / 16 * 8 + output % 8;
    if (channel >= width) return;
    const float2 b0 = c.bias[0], b1 = c.bias[1];
    auto* target = reinterpret_cast<__nv_bfloat162*>(y + tiled_offset(row, channel, width));
    target[0] =
        __floats2bfloat162_rn(swiglu(sum[0].x + b0.x, sum[0].y + b0.y), swiglu(sum[1].x + b1.x, sum[1].y + b1.y));
    target[1] =
        __floats2bfloat162_rn(swiglu(sum[0].z + b0.x, sum[0].w + b0.y), swiglu(sum[1].z + b1.x, sum[1].w + b1.y));
  }
};

}  // namespace

void block_gate_up(const Stream& stream, const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) {
  const GateUpEpilogue epilogue{
      .bias = norm.folded.as<float>(), .y = data<__nv_bfloat16>(y), .width = static_cast<int>(w.outputs / 2)};
  launch_block<96, 2, 12>(stream, w, h.scaled, h.squares, epilogue);
}

}  // namespace nervus::cuda
