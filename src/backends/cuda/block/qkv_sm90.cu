// q, k, v = split_rope(norm(h) W^T + b): queries [T, H d] and, at cache rows slots[r], keys and values [slots, G d].
// Work: product_sm90.cuh; the two values that a rotation mixes are neighbours, so one thread holds both. In e4m3 an
// output is its unit times its sum.
// Bound: see product_sm90.cuh; 2560 x 768 at 51 rows are 3.9 MB of weights, 0.9 us at memory rate; half in e4m3.
// Reference: ReferenceKernels::rms_norm, linear, split_rope.
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/launch_sm90.cuh"
#include "backends/cuda/block/product_sm90.cuh"

namespace nervus::cuda {
namespace {

// `Scaled`: of a product in e4m3.
template <bool Scaled>
struct QkvEpilogue {
  static constexpr bool normed = true;
  static constexpr int blocks = 2;
  static constexpr int shared_bytes = 0;
  const float* bias;  // packed order
  const float* unit;  // the same, where Scaled
  const float* cosine;
  const float* sine;
  const int* positions;
  const int* slots;
  __nv_bfloat16* q;  // tiled
  __nv_bfloat16* keys;
  __nv_bfloat16* values;
  int query_heads, key_heads;
  static constexpr unsigned half = 64;  // of the head size: known, so that nothing is divided by what is not

  struct Constants {
    float2 bias[2], unit[2];
    float2 cosine[2], sine[2];  // of two channels, for two rows; of values 1 and 0
    __nv_bfloat16* target[2];   // of a key or value the two rows, or null; of a query the first alone
    bool query;
  };
  struct Ready {};

  __device__ Constants constants(int row, int output, int rows, std::byte*) const {
    Constants c{};
    const auto first = static_cast<unsigned>(output);
    const unsigned channel = first / 16 * 8 + first % 8, within = channel % half;  // of this thread's two
    const int head = static_cast<int>(channel / half);
    if (head >= query_heads + 2 * key_heads || row >= rows) return c;
    // Of both rows at once, or one wait for L2 would follow the other. A second row that is padding is as the last.
    const int second_row = min(row + 8, rows - 1);
    const int position[2] = {load_constant_here(positions + row), load_constant_here(positions + second_row)};
    const int slot[2] = {load_constant_here(slots + row), load_constant_here(slots + second_row)};
    c.query = head < query_heads;
    const bool value = head >= query_heads + key_heads;
    const int g = head - query_heads - (value ? key_heads : 0);
    for (int i = 0; i < 2; ++i) {
      c.bias[i] = *reinterpret_cast<const float2*>(bias + output + 8 * i);
      if constexpr (Scaled) c.unit[i] = *reinterpret_cast<const float2*>(unit + output + 8 * i);
    }
    if (c.query) c.target[0] = q + tiled_offset(row, head * 2 * half + within, query_heads * 2 * half);
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      c.cosine[s] = make_float2(1, 1);
      if (!value) {
        const unsigned at = position[s] * half + within;
        c.cosine[s] = *reinterpret_cast<const float2*>(cosine + at);
        c.sine[s] = *reinterpret_cast<const float2*>(sine + at);
      }
      if (!c.query && row + 8 * s < rows) {
        c.target[s] =
            (value ? values : keys) + (static_cast<std::int64_t>(slot[s]) * key_heads + g) * 2 * half + within;
      }
    }
    return c;
  }
  __device__ void inputs(const Constants&, std::byte*) const {}
  __device__ Ready ready(std::byte*) const { return {}; }

  __device__ void finish(const float4 (&sum)[2], const Constants& c, const Ready&, std::byte*) const {
    __nv_bfloat162 low[2], high[2];  // channels i, i + 1 and those half a head further, for two rows
    const float2 first[2] = {{sum[0].x, sum[0].y}, {sum[0].z, sum[0].w}};
    const float2 second[2] = {{sum[1].x, sum[1].y}, {sum[1].z, sum[1].w}};
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const auto [a0, b0] = biased<Scaled>(first[s], c.unit[0], c.bias[0]);
      const auto [a1, b1] = biased<Scaled>(second[s], c.unit[1], c.bias[1]);
      low[s] = __floats2bfloat162_rn(a0 * c.cosine[s].x - b0 * c.sine[s].x, a1 * c.cosine[s].y - b1 * c.sine[s].y);
      high[s] = __floats2bfloat162_rn(b0 * c.cosine[s].x + a0 * c.sine[s].x, b1 * c.cosine[s].y + a1 * c.sine[s].y);
    }
    if (c.query) {  // a row beyond the last is padding of the tile
      *reinterpret_cast<uint2*>(c.target[0]) = *reinterpret_cast<const uint2*>(low);
      // half a head further are that many tiles of 16 x 16
      *reinterpret_cast<uint2*>(c.target[0] + half * 16) = *reinterpret_cast<const uint2*>(high);
      return;
    }
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      if (c.target[s] == nullptr) continue;
      *reinterpret_cast<__nv_bfloat162*>(c.target[s]) = low[s];
      *reinterpret_cast<__nv_bfloat162*>(c.target[s] + half) = high[s];
    }
  }
};

}  // namespace

void block_qkv(const Stream& stream, const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h,
               const Norm& norm, const Linear& w, const Rope& rope) {
  const auto& product = *static_cast<const BlockProduct*>(w.weight.get());
  const auto start = [&]<typename X>(Type<X>) {
    constexpr bool scaled = sizeof(X) == 1;
    const QkvEpilogue<scaled> epilogue{.bias = norm.folded.as<float>(),
                                       .unit = data<const float>(product.scale),
                                       .cosine = rope.cosine.as<float>(),
                                       .sine = rope.sine.as<float>(),
                                       .positions = rope.positions.as<std::int32_t>(),
                                       .slots = slots.as<std::int32_t>(),
                                       .q = data<__nv_bfloat16>(q),
                                       .keys = data<__nv_bfloat16>(cache.keys),
                                       .values = data<__nv_bfloat16>(cache.values),
                                       .query_heads = static_cast<int>(w.heads.query),
                                       .key_heads = static_cast<int>(w.heads.key_value)};
    check(w.heads.size == 2 * epilogue.half, "block_qkv: heads of 128");
    constexpr int steps = scaled ? 6 : 12;
    // attention has keys and values to fetch, and finds places in e4m3 alone
    const Next next = scaled ? Next::before_the_wait : Next::behind_the_wait;
    launch_block<48, 2, steps, steps, X>(stream, w, h.scaled, h.squares, epilogue, next);
  };
  with_element(h.scaled.dtype, start);
}

}  // namespace nervus::cuda
