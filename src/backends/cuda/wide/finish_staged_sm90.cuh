// A finish (finish_sm90.cuh) through shared memory, which gathers eight channels of a row into one access.
#pragma once

#include "backends/cuda/wide/finish_sm90.cuh"

namespace nervus::cuda {

// Epilogue: Part<chunks>(epilogue, row, T, output) is what a warp knows of the 16 rows from `row` on and its outputs
// before the product, from prepare() on, and its load() what it loads at the end; stage() puts values of two rows, of
// channels channel and channel + 1 of each of its columns of 8, into the memory of the warp; store() takes all from
// there.
template <typename Tile, typename Epilogue>
struct WideFinishStaged {
  static constexpr int Blocks = Epilogue::blocks, Tiles = Tile::group_tiles, chunks = Tile::columns / 8 / Blocks;
  using Part = typename Epilogue::template Part<chunks>;
  // Of a row: so that those of a warp's eight rows fall on different banks.
  static constexpr int stride = (Epilogue::staged_bytes * chunks + 127) / 128 * 128 + 16;
  static_assert(wide_warps * 16 * stride <= WideShared<Tile>::received);
  const Epilogue& epilogue;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  Part parts[Tiles];

  __device__ WideFinishStaged(const WideArguments& a, const WidePlace<Tile>& place, const Epilogue& epilogue)
      : epilogue(epilogue) {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const int row = place.group_row() + tile * 64 + warp % 4 * 16;
      parts[tile] = Part(epilogue, row, a.rows, place.column_tile * Tile::columns);
    }
  }

  __device__ void prepare() {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) parts[tile].prepare(epilogue);
  }
  __device__ void load() {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) parts[tile].load(epilogue);
  }

  __device__ void operator()(const float (&sums)[Tiles][Tile::columns / 2], const float2* constants,
                             std::byte* memory) const {
    std::byte* area = memory + warp * 16 * stride;
    wide_meet();  // nobody reads the ring any more
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      if (tile > 0) __syncwarp();
#pragma unroll
      for (int chunk = 0; chunk < chunks; ++chunk) {
        float4 values[Blocks];
#pragma unroll
        for (int b = 0; b < Blocks; ++b) {
          const float* s = sums[tile] + (chunk * Blocks + b) * 4;
          const int column = (chunk * Blocks + b) * 8 + lane % 4 * 2;
          values[b] = wide_value(make_float4(s[0], s[1], s[2], s[3]), constants, column);
        }
        std::byte* row = area + lane / 4 * stride;
        epilogue.template stage<chunks>(row, row + 8 * stride, chunk * 8 + lane % 4 * 2, values);
      }
      __syncwarp();
      epilogue.store(parts[tile], area, stride);
    }
  }
};

}  // namespace nervus::cuda
