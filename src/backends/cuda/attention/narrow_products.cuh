// How narrow.cu lays out a tile, and its products, which warps make one by one.
#pragma once

#include "backends/cuda/attention/span.cuh"

namespace nervus::cuda {
namespace narrow {

constexpr int head = 128, tile_rows = 16, warps = 8, warp_keys = 40, tile_keys = warps * warp_keys;
constexpr int units = head / 8;                    // of 16 bytes, in a row of keys
constexpr int copied_rows = warps * 32 / units;    // that the block copies at once
constexpr int probability_stride = tile_keys + 8;  // bf16
constexpr int keys_bytes = tile_keys * head * 2;   // of keys, then of values
constexpr int q_bytes = tile_rows * head * 2;
constexpr int statistics_bytes = warps * tile_rows * 4;  // of maxima, then of sums: [16 rows][8 warps]
constexpr int shared_bytes = 2 * keys_bytes + q_bytes + 2 * statistics_bytes;
static_assert(tile_rows * probability_stride * 2 <= keys_bytes);

// Scores of this warp's 40 keys: s[n] holds rows quad, quad + 8 and keys 8 n + 2 pair, + 1.
__device__ inline void scores(float (&s)[warp_keys / 8][4], const std::byte* q, const std::byte* keys, int first_key) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < warp_keys / 8; ++n) {
#pragma unroll
    for (float& value : s[n]) value = 0;
  }
#pragma unroll
  for (int c = 0; c < units / 4; ++c) {
    uint4 k[warp_keys / 8], rows[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) rows[i] = *reinterpret_cast<const uint4*>(q + ((2 * c + i) * 32 + lane) * 16);
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) {
      const int row = first_key + n * 8 + lane % 8;
      k[n] = load_matrices<false>(keys + row * head * 2 + ((c * 4 + lane / 8) ^ (row % 8)) * 16);
    }
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) multiply(s[n], rows[0], k[n].x, k[n].y);
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) multiply(s[n], rows[1], k[n].z, k[n].w);
  }
}

// o [16, 16 channels of this warp] += p [16, count] v, 64 keys at a time: loads first, then two chains of products.
__device__ inline void weigh_values(float (&o)[2][4], const std::byte* probabilities, const std::byte* values,
                                    int count) {
  const int lane = threadIdx.x % 32, unit = threadIdx.x / 32 * 2 + lane / 16;
  const std::byte* p_row = probabilities + (lane % 16 * probability_stride + lane / 16 * 8) * 2;
  const std::byte* v_row = values + lane % 16 * head * 2 + (unit ^ (lane % 8)) * 16;
  float more[2][4] = {};
  for (int k = 0; k < count; k += 64) {
    uint4 p[4], v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[i] = load_matrices<false>(p_row + (k + i * 16) * 2);
      v[i] = load_matrices<true>(v_row + (k + i * 16) * head * 2);
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      multiply(o[0], p[i], v[i].x, v[i].y);
      multiply(o[1], p[i], v[i].z, v[i].w);
      multiply(more[0], p[i + 1], v[i + 1].x, v[i + 1].y);
      multiply(more[1], p[i + 1], v[i + 1].z, v[i + 1].w);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) o[i / 4][i % 4] += more[i / 4][i % 4];
}

}  // namespace narrow
}  // namespace nervus::cuda
