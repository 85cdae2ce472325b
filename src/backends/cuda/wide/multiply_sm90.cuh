// How the warpgroups of a wide product (product_sm90.cuh, persistent_sm90.cuh) multiply what comes into the ring.
#pragma once

#include "backends/cuda/device/wgmma_sm90.cuh"
#include "backends/cuda/wide/fetch_sm90.cuh"

namespace nervus::cuda {

// Where a warpgroup is in the ring, and how many stages are still to be multiplied from there on, by both warpgroups.
template <typename Tile>
struct WideRing {
  int left, stage = 0, turn = 0;

  // Stages that are the other warpgroup's.
  __device__ void skip(int count) {
    constexpr int stages = WideShared<Tile>::stages;
    left -= count;
    turn ^= (stage + count) / stages & 1;
    stage = (stage + count) % stages;
  }
};

// This warp has read a stage: tells the blocks that fill it again. `left` stages are to be multiplied after it; are
// they fewer than the ring has, it is not filled again, and who would be told may have ended.
template <typename Tile>
__device__ void wide_release(const WidePlace<Tile>& place, std::uint64_t* empty, int stage, int left) {
  constexpr int sharers = WidePlace<Tile>::sharers;
  const int lane = threadIdx.x % 32;
  if (left >= WideShared<Tile>::stages && lane < sharers) barrier_arrive(empty + stage, place.part * sharers + lane);
}

// A warpgroup: sums of 64 rows a tile, which are there after products_wait().
// Returns the last stage, which is not released.
template <typename T, typename Tile, int Tiles, typename Sum>
__device__ int wide_multiply(Sum (&sums)[Tiles][Tile::columns / 2], int count, const WidePlace<Tile>& place,
                             const std::byte* shared, std::uint64_t* full, std::uint64_t* empty, WideRing<Tile>& ring) {
  using Shared = WideShared<Tile>;
  const int group = Tile::persistent ? 0 : threadIdx.x / 128;
  const std::uint32_t x_begin = shared_address(shared) + group * Tiles * 64 * wide_step_bytes;
  const std::uint32_t w_begin = shared_address(shared) + Shared::x_bytes;
  int before = 0;
  for (int k = 0; k < count; ++k, --ring.left) {
    barrier_wait(full + ring.stage, ring.turn);
    products_begin();
#pragma unroll
    for (int step = 0; step < wide_step_bytes; step += 32) {
      const std::uint64_t w = swizzled_tile(w_begin + ring.stage * Shared::stage_bytes + step);
#pragma unroll
      for (int tile = 0; tile < Tiles; ++tile) {
        const std::uint32_t x = x_begin + ring.stage * Shared::stage_bytes + tile * 64 * wide_step_bytes + step;
        WarpgroupProduct<T, Tile::columns>::add(sums[tile], swizzled_tile(x), w, k > 0 || step > 0);
      }
    }
    products_commit();
    products_wait_but_one();
    if (k > 0) wide_release(place, empty, before, ring.left);
    before = ring.stage;
    if (++ring.stage == Shared::stages) ring.stage = 0, ring.turn ^= 1;
  }
  return before;
}

// The inverse norms of this thread's rows, where x is a stream before its norm. Four lanes have a row in common.
template <typename Tile>
struct WideRowNorms {
  static constexpr int Tiles = Tile::group_tiles;
  float inverse[Tiles][2];

  __device__ WideRowNorms(const WideArguments& a, const WidePlace<Tile>& place) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    constexpr int each = wide_most_parts / 16;  // loads of a lane
    float4 parts[Tiles][2][each];
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const int row = min(place.group_row() + tile * 64 + warp % 4 * 16 + lane / 4 + 8 * s, a.rows - 1);
        const auto* from = reinterpret_cast<const float4*>(a.squares + static_cast<std::int64_t>(row) * a.parts);
#pragma unroll
        for (int i = 0; i < each; ++i) {
          const int at = i * 4 + lane % 4;
          parts[tile][s][i] = at * 4 < a.parts ? __ldcg(from + at) : make_float4(0, 0, 0, 0);
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        float sum = 0;
#pragma unroll
        for (const float4& p : parts[tile][s]) sum += p.x + p.y + p.z + p.w;
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        inverse[tile][s] = rsqrtf(sum * a.inverse_width + 1e-6f);
      }
    }
  }
  __device__ void apply(float (&sums)[Tiles][Tile::columns / 2]) const {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Tile::columns / 2; ++i) sums[tile][i] *= inverse[tile][i % 4 / 2];
    }
  }
};

// The scales of this thread's rows of integers, and their sums times them.
template <typename Tile>
struct WideRowScales {
  static constexpr int Tiles = Tile::group_tiles;
  float scales[Tiles][2];

  __device__ WideRowScales(const WideArguments& a, const WidePlace<Tile>& place) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const int row = place.group_row() + tile * 64 + warp % 4 * 16 + lane / 4;
      scales[tile][0] = __ldcg(a.row_scales + min(row, a.rows - 1));
      scales[tile][1] = __ldcg(a.row_scales + min(row + 8, a.rows - 1));
    }
  }
  __device__ void apply(float (&sums)[Tiles][Tile::columns / 2], const int (&whole)[Tiles][Tile::columns / 2]) const {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Tile::columns / 2; ++i)
        sums[tile][i] = __int2float_rn(whole[tile][i]) * scales[tile][i % 4 / 2];
    }
  }
};

}  // namespace nervus::cuda
