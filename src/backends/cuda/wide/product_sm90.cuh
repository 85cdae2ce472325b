// The product of a wide linear, bf16, f16, e4m3 or int8, and what follows it in the same kernel.
//
//   sums [T, N] = x [T, K] W^T in float32, then the epilogue
//
// Work: a block makes Tile::rows x Tile::columns sums. One warp fetches tiles of x and W, 128 bytes of inputs a time,
// into a ring in shared memory; two warpgroups multiply what has come. Blocks of a cluster that have rows or outputs in
// common fetch a part each and send it to all, and those that split the inputs send their sums to the block that
// finishes the rows, which adds them in the order of the inputs. The first weights are fetched before the dependency
// wait. Bound: the matrix unit, or what L2 can deliver: T N K (1 / Tile::columns + 1 / Tile::rows) elements, less what
// is shared. Reference: tests/reference/kernels.cpp, through the small ops that Ops composes.
#pragma once

#include <type_traits>

#include "backends/cuda/device/wgmma_sm90.cuh"
#include "backends/cuda/wide/fetch_sm90.cuh"
#include "backends/cuda/wide/finish_split_sm90.cuh"
#include "backends/cuda/wide/finish_staged_sm90.cuh"

namespace nervus::cuda {

// Where a warpgroup is in the ring, and how many stages are still to be multiplied, in all tiles of the block.
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

// A stage has been read by this warp, of which the blocks that fill it again wait; nobody does where no more is left.
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

// The scales of this thread's rows of integers, loaded before the product, and their sums times them.
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
  if constexpr (sizeof(T) == 1 && std::is_integral_v<T>) {
    const WideRowScales<Tile> scales(a, place);
    int whole[Tiles][Tile::columns / 2];
    wide_multiply<T, Tile>(whole, count, place, shared, full, empty, ring);
    finish.load();
    products_wait();
    scales.apply(sums, whole);
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
