// q, k, v = split_rope(norm(h) W^T + b): queries [T, H d] and, at cache rows slots[r], keys and values [slots, G d].
// Work: product_sm90.cuh; the two values that a rotation mixes are neighbours, so one thread holds both.
// Bound: see product_sm90.cuh; 2560 x 768 at 51 rows are 3.9 MB of weights, 0.9 us at memory rate.
// Reference: ReferenceKernels::rms_norm, linear, split_rope.
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/launch_sm90.cuh"
#include "backends/cuda/block/product_sm90.cuh"

namespace nervus::cuda {
namespace {

struct QkvEpilogue {
  static constexpr bool normed = true;
  static constexpr int blocks = 2;
  static constexpr int shared_bytes = 0;
  const float* bias;  // packed order
  const float* cosine;
  const float* sine;
  const int* positions;
  const int* slots;
  __nv_bfloat16* q;  // tiled
  __nv_bfloat16* keys;
  __nv_bfloat16* values;
  int query_heads, key_heads, half;  // half: of the head size

  struct Constants {
    float2 bias[2];
    float2 cosine[2], sine[2];  // of two channels, for two rows
    int slot[2];
    int head, channel;
  };
  struct Inputs {};

  __device__ Constants constants(int row, int output, int rows, std::byte*) const {
    Constants c{};
    const int channel = output / 16 * 8 + output % 8;  // of this thread's two
    c.head = channel / half;
    c.channel = channel % half;
    if (c.head >= query_heads + 2 * key_heads) return c;
    for (int i = 0; i < 2; ++i) c.bias[i] = *reinterpret_cast<const float2*>(bias + output + 8 * i);
    for (int s = 0; s < 2; ++s) {
      if (row + 8 * s >= rows) continue;
      const int at = positions[row + 8 * s] * half + c.channel;
      c.cosine[s] = *reinterpret_cast<const float2*>(cosine + at);
      c.sine[s] = *reinterpret_cast<const float2*>(sine + at);
      c.slot[s] = slots[row + 8 * s];
    }
    return c;
  }
  __device__ Inputs inputs(int, int, int, std::byte*) const { return {}; }

  __device__ void finish(int row, int, int rows, const float4 (&sum)[2], const Constants& c, const Inputs&,
                         std::byte*) const {
    if (c.head >= query_heads + 2 * key_heads) return;
    __nv_bfloat162 low[2], high[2];  // channels i, i + 1 and those half a head further, for two rows
    const float2 first[2] = {{sum[0].x, sum[0].y}, {sum[0].z, sum[0].w}};
    const float2 second[2] = {{sum[1].x, sum[1].y}, {sum[1].z, sum[1].w}};
    const bool value = c.head >= query_heads + key_heads;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const float a0 = first[s].x + c.bias[0].x, b0 = first[s].y + c.bias[0].y;
      const float a1 = second[s].x + c.bias[1].x, b1 = second[s].y + c.bias[1].y;
      const float2 cosine = value ? make_float2(1, 1) : c.cosine[s], sine = value ? make_float2(0, 0) : c.sine[s];
      low[s] = __floats2bfloat162_rn(a0 * cosine.x - b0 * sine.x, a1 * cosine.y - b1 * sine.y);
      high[s] = __floats2bfloat162_rn(b0 * cosine.x + a0 * sine.x, b1 * cosine.y + a1 * sine.y);
    }
    if (c.head < query_heads) {  // rows beyond the last are padding of the tiles
      const int column = c.head * 2 * half + c.channel, columns = query_heads * 2 * half;
      auto* target = reinterpret_cast<__nv_bfloat162*>(q + tiled_offset(row, column, columns));
      target[0] = low[0], target[1] = low[1];
      target = reinterpret_cast<__nv_bfloat162*>(q + tiled_offset(row, column + half, columns));
      target[0] = high[0], target[1] = high[1];
      return;
    }
    const int g = c.head - query_heads - (value ? key_heads : 0);
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      if (row + 8 * s >= rows) continue;
      __nv_bfloat16* target =
          (value ? values : keys) + (static_cast<std::int64_t>(c.slot[s]) * key_heads + g) * 2 * half + c.channel;
      *reinterpret_cast<__nv_bfloat162*>(target) = low[s];
      *reinterpret_cast<__nv_bfloat162*>(target + half) = high[s];
    }
  }
};

}  // namespace

void block_qkv(const Stream& stream, const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h,
               const Norm& norm, const Linear& w, const Rope& rope) {
  const QkvEpilogue epilogue{.bias = norm.folded.as<float>(),
                             .cosine = rope.cosine.as<float>(),
                             .sine = rope.sine.as<float>(),
                             .positions = rope.positions.as<std::int32_t>(),
                             .slots = slots.as<std::int32_t>(),
                             .q = data<__nv_bfloat16>(q),
                             .keys = data<__nv_bfloat16>(cache.keys),
                             .values = data<__nv_bfloat16>(cache.values),
                             .query_heads = static_cast<int>(w.heads.query),
                             .key_heads = static_cast<int>(w.heads.key_value),
                             .half = static_cast<int>(w.heads.size / 2)};
  launch_block<48, 2, 12>(stream, w, h.scaled, h.squares, epilogue);
}

}  // namespace nervus::cuda
