// The product of a wide linear (product_sm90.cuh) by blocks that stay: each makes one tile after the other, its two
// warpgroups in turn.
//
// Work: while one warpgroup finishes a tile, the other multiplies the next, and the warp that fetches is ahead of both.
// Bound: as product_sm90.cuh. It saves the 2 us before the first product of every tile but a block's first, and what
// follows the last product of every tile but its last. For many more tiles than the device holds at once.
#pragma once

#include <type_traits>

#include "backends/cuda/wide/finish_passes_sm90.cuh"
#include "backends/cuda/wide/multiply_sm90.cuh"

namespace nervus::cuda {

// The warpgroups' turns to multiply. A barrier tells only whether its stage has been filled an odd or an even number of
// times. So a warpgroup waits for the stages of its tile only when the other has seen all those of the tile before;
// else it could take what was there two fills earlier for its own.
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
  static_assert(Tile::split == 1 && Epilogue::staged_bytes > 0 && !Epilogue::fused);
  static_assert(Shared::stages >= 2 && 2 * Shared::stages * 8 <= Shared::barrier_bytes);
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
  if constexpr (Trace::on) wide_meet();  // thread 0 notes the end of both warpgroups
  a.trace.ended();
}

}  // namespace nervus::cuda
