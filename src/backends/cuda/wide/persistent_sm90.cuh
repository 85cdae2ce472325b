// The product of a wide linear (product_sm90.cuh) by blocks that stay: each makes one tile after the other, its two
// warpgroups in turn.
//
// Work: while one warpgroup finishes a tile, the other multiplies the next, and the warp that fetches is ahead of both.
// Bound: as product_sm90.cuh; what it saves is, of every tile but a block's first and last, the 2 us before the first
// product and what follows the last. For many times the tiles that the device holds at once.
#pragma once

#include "backends/cuda/wide/product_sm90.cuh"

namespace nervus::cuda {

// How a warpgroup finishes its part of a tile: gathered in memory of its own, as WideFinishStaged, but in passes of as
// many columns as there is memory for. What a pass loads comes while the one before it is stored.
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

// The warpgroups' turns to multiply: one waits for all stages of a tile before the other waits for those of the next,
// or it could take a stage that has been filled an even number of times too few for full.
__device__ inline void await_turn(int group) {
  asm volatile("bar.sync %0, %1;" ::"r"(group + 4), "n"(wide_warps * 32) : "memory");
}
__device__ inline void give_turn(int group) {
  asm volatile("bar.arrive %0, %1;" ::"r"(group + 4), "n"(wide_warps * 32) : "memory");
}

template <typename T, typename Tile, typename Epilogue>
__global__ void __launch_bounds__(Tile::threads, 1)
    wide_persistent(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap w, const WideArguments a,
                    const Epilogue epilogue) {
  using Shared = WideShared<Tile>;
  a.trace.begun();
  static_assert(Tile::split == 1 && Epilogue::staged_bytes > 0);
  extern __shared__ __align__(1024) std::byte shared[];
  auto* full = reinterpret_cast<std::uint64_t*>(shared + Shared::barriers);
  std::uint64_t* empty = full + Shared::stages;
  WidePlace<Tile> place(a);
  const WideFetch<T, Tile> fetch{x, w, place, 0, a.steps, shared, full, empty};
  if (threadIdx.x == wide_warps * 32) {
    fetch.make_barriers();
    barrier_init_fence();
    fetch.begin();
    map_prefetch(x);
  }
  __syncthreads();
  if constexpr (Tile::cluster > 1) cluster_meet();
  if (threadIdx.x >= wide_warps * 32) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == wide_warps * 32) fetch.run(Epilogue::weights_ahead, a, place);
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  WideFinishPasses<Tile, Epilogue> finish(a, epilogue, shared);
  cudaGridDependencySynchronize();  // of what the finish reads and overwrites
  a.trace.free();
  WideRing<Tile> ring{place.tiles_left(a) * a.steps};
  const int group = threadIdx.x / 128;
  if (group == 1) {  // begins with the second tile
    ring.skip(a.steps);
    place.next(a);
  }
  for (bool waits = group == 1; place.exists(a); place.next(a, 2), ring.skip(a.steps), waits = true) {
    if (waits) await_turn(group);
    typename WideFinishPasses<Tile, Epilogue>::Sums sums;
    const auto start = [&](auto& to) {
      const int last = wide_multiply<T, Tile>(to, a.steps, place, shared, full, empty, ring);
      if (ring.left > 0) give_turn(1 - group);
      finish.load(place);
      return last;
    };
    const auto wait = [&](int last) {
      products_wait();
      wide_release(place, empty, last, ring.left);
    };
    if constexpr (std::is_integral_v<T>) {
      int whole[Tile::group_tiles][Tile::columns / 2];
      const int last = start(whole);
      const WideRowScales<Tile> scales(a, place);
      wait(last);
      scales.apply(sums, whole);
    } else {
      wait(start(sums));
    }
    finish(sums, place);
  }
  a.trace.ended();
}

}  // namespace nervus::cuda
