// y [T, F] = silu(g) u with g, u = norm(h) W^T + b.
// Work: product_sm90.cuh; gate and up of a channel are neighbours, so one thread holds both.
// Bound: see product_sm90.cuh; 5504 x 768 at 51 rows are 8.5 MB of weights, 1.9 us at memory rate.
// Reference: ReferenceKernels::rms_norm, linear, swiglu.
#include "backends/cuda/attention/span.cuh"
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
    int offset;  // in y; negative where there is nothing to store
  };
  struct Ready {};

  __device__ Constants constants(int row, int output, int rows, std::byte*) const {
    Constants c{};
    const int channel = output / 16 * 8 + output % 8;
    c.offset = -1;
    if (channel >= width || row >= rows) return c;
    c.offset = static_cast<int>(tiled_offset(row, channel, width));
    for (int i = 0; i < 2; ++i) c.bias[i] = *reinterpret_cast<const float2*>(bias + output + 8 * i);
    return c;
  }
  __device__ void inputs(const Constants&, std::byte*) const {}
  __device__ Ready ready(std::byte*) const { return {}; }

  static __device__ float swiglu(float gate, float up) {
    constexpr float log2e = 1.4426950408889634f;
    return __fdividef(gate, 1.0f + power_of_two(-log2e * gate)) * up;
  }

  __device__ void finish(const float4 (&sum)[2], const Constants& c, const Ready&, std::byte*) const {
    const float2 b0 = c.bias[0], b1 = c.bias[1];
    __nv_bfloat162 out[2];
    out[0] = __floats2bfloat162_rn(swiglu(sum[0].x + b0.x, sum[0].y + b0.y), swiglu(sum[1].x + b1.x, sum[1].y + b1.y));
    out[1] = __floats2bfloat162_rn(swiglu(sum[0].z + b0.x, sum[0].w + b0.y), swiglu(sum[1].z + b1.x, sum[1].w + b1.y));
    if (c.offset >= 0) *reinterpret_cast<uint2*>(y + c.offset) = *reinterpret_cast<const uint2*>(out);
  }
};

}  // namespace

void block_gate_up(const Stream& stream, const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) {
  const GateUpEpilogue epilogue{
      .bias = norm.folded.as<float>(), .y = data<__nv_bfloat16>(y), .width = static_cast<int>(w.outputs / 2)};
  launch_block<96, 2, 12>(stream, w, h.scaled, h.squares, epilogue);
}

}  // namespace nervus::cuda
