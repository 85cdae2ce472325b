// A finish (finish_sm90.cuh) where the inputs are split: blocks of a cluster send each other their sums.
#pragma once

#include "backends/cuda/wide/finish_sm90.cuh"

namespace nervus::cuda {

// A block finishes 1 / split of the rows, in units of 16 rows x 8 blocks outputs; epilogues are as for WideFinish.
template <typename Tile, typename Epilogue>
struct WideFinishSplit {
  static_assert(Tile::rows == 128);
  static constexpr int Blocks = Epilogue::blocks, across = Tile::columns / 8 / Blocks;
  static constexpr int tiles = Tile::rows / 16 / Tile::split, units = tiles * across;
  static constexpr int rounds = (units + wide_warps - 1) / wide_warps;
  const WideArguments& a;
  const WidePlace<Tile>& place;
  const Epilogue& epilogue;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first_column;
  typename Epilogue::Rows rows[rounds];
  typename Epilogue::Inputs inputs[rounds];

  __device__ int unit_of(int round) const { return min(warp + round * wide_warps, units - 1); }
  __device__ int column_of(int unit) const { return unit % across * 8 * Blocks + lane % 4 * 2; }

  __device__ WideFinishSplit(const WideArguments& a, const WidePlace<Tile>& place, const Epilogue& epilogue)
      : a(a), place(place), epilogue(epilogue), first_column(place.column_tile * Tile::columns) {
#pragma unroll
    for (int i = 0; i < rounds; ++i) {
      const int first_row = place.row_tile * Tile::rows + place.part * tiles * 16 + lane / 4;
      rows[i] = epilogue.rows(first_row + unit_of(i) / across * 16, a.rows);
    }
  }

  __device__ void prepare() {}
  __device__ void load() {
    const int last = a.outputs - 8 * Blocks + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < rounds; ++i)
      inputs[i] = epilogue.inputs(rows[i], min(first_column + column_of(unit_of(i)), last));
  }

  __device__ void send(const float (&sums)[Tile::columns / 2], float4* received, std::uint64_t* arrived) const {
    const int owner = warp / tiles;  // the part that finishes this warp's rows
    const int owner_rank = owner * WidePlace<Tile>::sharers + place.share;
#pragma unroll
    for (int n = 0; n < Tile::columns / 8; ++n) {
      float4* at = received + (place.part * units * Blocks + warp % tiles * (Tile::columns / 8) + n) * 32;
      const float4 sum = make_float4(sums[4 * n], sums[4 * n + 1], sums[4 * n + 2], sums[4 * n + 3]);
      if (owner == place.part) *at = sum;
      else store_remote(remote_address(at, owner_rank), remote_address(arrived, owner_rank), sum);
    }
  }

  __device__ void operator()(const float (&sums)[Tile::columns / 2], const float2* constants, std::byte* memory,
                             std::uint64_t* arrived) const {
    auto* received = reinterpret_cast<float4*>(memory) + lane;
    send(sums, received, arrived);
    wide_meet();
    barrier_wait(arrived, 0);
#pragma unroll
    for (int i = 0; i < rounds; ++i) {
      const int unit = warp + i * wide_warps, column = column_of(unit);
      if (unit >= units || first_column + column >= a.outputs) continue;
      float4 values[Blocks];
#pragma unroll
      for (int b = 0; b < Blocks; ++b) {
        float4 sum = received[(unit * Blocks + b) * 32];
#pragma unroll
        for (int part = 1; part < Tile::split; ++part) {
          const float4 more = received[((part * units + unit) * Blocks + b) * 32];
          sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
        }
        values[b] = wide_value(sum, constants, column + 8 * b);
      }
      epilogue.finish(rows[i], first_column + column, values, inputs[i]);
    }
  }
};

}  // namespace nervus::cuda
