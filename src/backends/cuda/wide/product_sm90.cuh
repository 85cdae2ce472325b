// The product of a wide linear, bf16, f16, e4m3 or int8, and what follows it in the same kernel.
//
//   sums [T, N] = x [T, K] W^T in float32, where x is a stream before its norm over the norms of its rows, then the
//   epilogue
//
// Work: a block makes Tile::rows x Tile::columns sums. One warp fetches tiles of x and W, 128 bytes of inputs a time,
// into a ring in shared memory; two warpgroups multiply what has come. Blocks of a cluster that have rows or outputs in
// common fetch a part each and send it to all, and those that split the inputs send their sums to the block that
// finishes the rows, which adds them in the order of the inputs. The first weights are fetched before the dependency
// wait. Bound: the matrix unit, or what L2 can deliver: T N K (1 / Tile::columns + 1 / Tile::rows) elements, less what
// is shared. Reference: tests/reference/kernels.cpp, through the small ops that Ops composes.
#pragma once

#include <type_traits>

#include "backends/cuda/wide/finish_split_sm90.cuh"
#include "backends/cuda/wide/finish_staged_sm90.cuh"
#include "backends/cuda/wide/multiply_sm90.cuh"

namespace nervus::cuda {

template <typename T, typename Tile, typename Epilogue>
__global__ void __launch_bounds__(Tile::threads, 1)
    wide_product(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap w, const WideArguments a,
                 const Epilogue epilogue) {
  using Shared = WideShared<Tile>;
  constexpr int stages = Shared::stages, Tiles = Tile::group_tiles;
  a.trace.begun();
  static_assert(Tile::columns <= wide_warps * 32, "a thread has one constant");
  static_assert(stages >= 2 && (2 * stages + 1) * 8 <= Shared::barrier_bytes);
  extern __shared__ __align__(1024) std::byte shared[];
  auto* full = reinterpret_cast<std::uint64_t*>(shared + Shared::barriers);
  std::uint64_t *empty = full + stages, *arrived = empty + stages;
  const WidePlace<Tile> place(a);
  const WideFetch<T, Tile> fetch{x, w, place, place.first_step(a), place.steps(a), shared, full, empty};
  if (threadIdx.x == wide_warps * 32) {
    fetch.make_barriers();
    barrier_init(arrived, 1);
    barrier_init_fence();
    if constexpr (Tile::split > 1)
      barrier_expect(arrived, Shared::received_bytes / Tile::split * (Tile::split - 1));  // but for its own
    fetch.begin();
    map_prefetch(x);
  }
  using Finish = std::conditional_t<
      (Tile::split > 1), WideFinishSplit<Tile, Epilogue>,
      std::conditional_t<(Epilogue::staged_bytes > 0), WideFinishStaged<Tile, Epilogue>, WideFinish<Tile, Epilogue>>>;
  // Asked for by all, also by the warps that fetch: all threads of a block have to meet at the same place.
  const WideConstant constant(a, place.column_tile * Tile::columns, threadIdx.x);
  Finish finish(a, place, epilogue);
  __syncthreads();
  if constexpr (Tile::cluster > 1) cluster_meet();
  if (threadIdx.x >= wide_warps * 32) {
    if constexpr (Tile::crowded) asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == wide_warps * 32) fetch.run(Epilogue::weights_ahead);
    return;
  }
  if constexpr (Tile::crowded) asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  auto* constants = reinterpret_cast<float2*>(shared + Shared::constants);
  if (threadIdx.x < Tile::columns) constants[threadIdx.x] = constant.value;
  finish.prepare();
  wide_meet();
  cudaGridDependencySynchronize();  // of what the finish reads and overwrites
  a.trace.free();
  float sums[Tiles][Tile::columns / 2];
  const int count = place.steps(a);
  WideRing<Tile> ring{count};
  if constexpr (std::is_integral_v<T>) {
    const WideRowScales<Tile> scales(a, place);
    int whole[Tiles][Tile::columns / 2];
    wide_multiply<T, Tile>(whole, count, place, shared, full, empty, ring);
    finish.load();
    products_wait();
    scales.apply(sums, whole);
  } else if constexpr (Epilogue::normed) {
    const WideRowNorms<Tile> norms(a, place);
    wide_multiply<T, Tile>(sums, count, place, shared, full, empty, ring);
    finish.load();
    products_wait();
    norms.apply(sums);
  } else {
    wide_multiply<T, Tile>(sums, count, place, shared, full, empty, ring);
    finish.load();
    products_wait();
  }
  if constexpr (Tile::split > 1) {
    finish(sums[0], constants, shared + Shared::received, arrived);
  } else if constexpr (Epilogue::staged_bytes > 0) {
    finish(sums, constants, shared);
  } else {
    finish(sums[0], constants);
  }
  a.trace.ended();
}

}  // namespace nervus::cuda
