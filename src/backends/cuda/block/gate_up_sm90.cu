// y [T, F] = silu(g) u with g, u = norm(h) W^T + b; y bf16, or e4m3 over its scale.
// Work: product_sm90.cuh; gate and up of a channel are neighbours, so one thread holds both. In e4m3 a warp finishes
// twice the channels at once, whose values lie together. Where x and W are in e4m3 an output is its unit times its sum.
// Bound: see product_sm90.cuh; 5504 x 768 at 51 rows are 8.5 MB of weights, 1.9 us at memory rate; half in e4m3.
// Reference: ReferenceKernels::rms_norm, linear, swiglu.
#include "backends/cuda/attention/span.cuh"
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/launch_sm90.cuh"
#include "backends/cuda/block/product_sm90.cuh"

namespace nervus::cuda {
namespace {

// `Scaled`: of a product in e4m3.
template <typename Y, bool Scaled>
struct GateUpEpilogue {
  static constexpr bool normed = true;
  static constexpr int blocks = 4 / sizeof(Y);
  static constexpr int shared_bytes = 0;
  const float* bias;  // packed order
  const float* unit;  // the same, where Scaled
  Y* y;               // tiled
  int width;          // F
  float inverse;      // of y's scale

  struct Constants {
    float2 bias[blocks], unit[blocks];
    int offset;  // in y; negative where there is nothing to store
  };
  struct Ready {};

  __device__ Constants constants(int row, int output, int rows, std::byte*) const {
    Constants c{};
    const int channel = output / 16 * 8 + output % 8;
    c.offset = -1;
    if (channel >= width || row >= rows) return c;
    c.offset = static_cast<int>(tiled_offset(row, channel, width, sizeof(Y)));
    for (int i = 0; i < blocks; ++i) {
      c.bias[i] = *reinterpret_cast<const float2*>(bias + output + 8 * i);
      if constexpr (Scaled) c.unit[i] = *reinterpret_cast<const float2*>(unit + output + 8 * i);
    }
    return c;
  }
  __device__ void inputs(const Constants&, std::byte*) const {}
  __device__ Ready ready(std::byte*) const { return {}; }

  static __device__ float swiglu(float2 sum, float2 unit, float2 bias) {
    constexpr float log2e = 1.4426950408889634f;
    const auto [gate, up] = biased<Scaled>(sum, unit, bias);
    return __fdividef(gate, 1.0f + power_of_two(-log2e * gate)) * up;
  }

  // Of each row what the thread has of it: two channels, in e4m3 four.
  __device__ void finish(const float4 (&sum)[blocks], const Constants& c, const Ready&, std::byte*) const {
    float out[2][blocks];
#pragma unroll
    for (int i = 0; i < blocks; ++i) {
      out[0][i] = swiglu({sum[i].x, sum[i].y}, c.unit[i], c.bias[i]);
      out[1][i] = swiglu({sum[i].z, sum[i].w}, c.unit[i], c.bias[i]);
    }
    if constexpr (sizeof(Y) == 1) {
      const float values[8] = {out[0][0] * inverse, out[0][1] * inverse, out[0][2] * inverse, out[0][3] * inverse,
                               out[1][0] * inverse, out[1][1] * inverse, out[1][2] * inverse, out[1][3] * inverse};
      if (c.offset >= 0) store<8>(y + c.offset, values);
    } else {
      const __nv_bfloat162 values[2] = {__floats2bfloat162_rn(out[0][0], out[0][1]),
                                        __floats2bfloat162_rn(out[1][0], out[1][1])};
      if (c.offset >= 0) *reinterpret_cast<uint2*>(y + c.offset) = *reinterpret_cast<const uint2*>(values);
    }
  }
};

}  // namespace

void block_gate_up(const Stream& stream, const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) {
  const auto& product = *static_cast<const BlockProduct*>(w.weight.get());
  const auto start = [&]<typename X, typename Y>(Type<X>, Type<Y>) {
    constexpr bool scaled = sizeof(X) == 1;
    const GateUpEpilogue<Y, scaled> epilogue{.bias = norm.folded.as<float>(),
                                             .unit = data<const float>(product.scale),
                                             .y = data<Y>(y),
                                             .width = static_cast<int>(w.outputs / 2),
                                             .inverse = 1.0f / y.scale};
    constexpr int steps = scaled ? 6 : 12;
    launch_block<96, 2, steps, steps, X>(stream, w, h.scaled, h.squares, epilogue);
  };
  with_element(h.scaled.dtype, [&](auto x) { with_element(y.dtype, [&](auto out) { start(x, out); }); });
}

}  // namespace nervus::cuda
