// A finish (finish_sm90.cuh) of a warpgroup of a persistent block: gathered in shared memory beside the ring, in passes
// of as many columns as there is memory for.
#pragma once

#include "backends/cuda/wide/finish_sm90.cuh"

namespace nervus::cuda {

// Epilogues are as for WideFinishStaged. What a pass loads comes while the one before it is stored.
template <typename Tile, typename Epilogue>
struct WideFinishPasses {
  static constexpr int Blocks = Epilogue::blocks, Tiles = Tile::group_tiles, chunks = Tile::columns / 8 / Blocks;
  static constexpr int room = WideShared<Tile>::staged_bytes / (wide_warps * 16);  // of a row
  // Odd times 16, so that eight rows fall on different banks.
  static constexpr int stride_of(int count) { return ((Epilogue::staged_bytes * count + 15) / 16 | 1) * 16; }
  static constexpr int fitting(int count) {
    return count < chunks && stride_of(count + 1) <= room ? fitting(count + 1) : count;
  }
  static constexpr int passes = (chunks - 1) / fitting(1) + 1, each = (chunks - 1) / passes + 1;
  static constexpr int stride = stride_of(each);
  static_assert(stride <= room && (passes - 1) * each < chunks);
  static constexpr int in_pass(int pass) { return pass % passes < passes - 1 ? each : chunks - (passes - 1) * each; }
  // Number i is of the 64 rows i / passes.
  template <int i>
  using Part = typename Epilogue::template Part<in_pass(i)>;
  using Sums = float[Tiles][Tile::columns / 2];

  const WideArguments& a;
  const Epilogue& epilogue;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  std::byte* area;    // of the warp
  float2* constants;  // of the warpgroup
  Part<0> first{};

  __device__ WideFinishPasses(const WideArguments& a, const Epilogue& epilogue, std::byte* shared)
      : a(a),
        epilogue(epilogue),
        area(shared + WideShared<Tile>::staged + warp * 16 * stride),
        constants(reinterpret_cast<float2*>(shared + WideShared<Tile>::constants) + warp / 4 * Tile::columns) {}

  // The warpgroup has come this far.
  __device__ void meet() const { asm volatile("bar.sync %0, 128;" ::"r"(warp / 4 + 2) : "memory"); }

  template <int i>
  __device__ Part<i> load_part(const WidePlace<Tile>& place) const {
    const int row = place.group_row() + i / passes * 64 + warp % 4 * 16;
    Part<i> part(epilogue, row, a.rows, place.column_tile * Tile::columns + i % passes * each * 8 * Blocks);
    part.prepare(epilogue);
    part.load(epilogue);
    return part;
  }
  // When the tile's last products have been started.
  __device__ void load(const WidePlace<Tile>& place) {
    first = load_part<0>(place);
    meet();  // nobody needs the constants of the tile before
    for (int i = static_cast<int>(threadIdx.x) % 128; i < Tile::columns; i += 128)
      constants[i] = WideConstant(a, place.column_tile * Tile::columns, i).value;
    meet();
  }
  template <int i>
  __device__ void finish(const Part<i>& part, const Sums& sums, const WidePlace<Tile>& place) const {
    constexpr int begin = i % passes * each;
#pragma unroll
    for (int chunk = 0; chunk < in_pass(i); ++chunk) {
      float4 values[Blocks];
#pragma unroll
      for (int b = 0; b < Blocks; ++b) {
        const int block = (begin + chunk) * Blocks + b;
        const float* s = sums[i / passes] + block * 4;
        values[b] = wide_value(make_float4(s[0], s[1], s[2], s[3]), constants, block * 8 + lane % 4 * 2);
      }
      std::byte* row = area + lane / 4 * stride;
      epilogue.template stage<in_pass(i)>(row, row + 8 * stride, chunk * 8 + lane % 4 * 2, values);
    }
    __syncwarp();
    if constexpr (i + 1 < Tiles * passes) {
      const Part<i + 1> next = load_part<i + 1>(place);
      epilogue.store(part, area, stride);
      __syncwarp();
      finish<i + 1>(next, sums, place);
    } else {
      epilogue.store(part, area, stride);
      __syncwarp();
    }
  }
  __device__ void operator()(const Sums& sums, const WidePlace<Tile>& place) const { finish<0>(first, sums, place); }
};

}  // namespace nervus::cuda
