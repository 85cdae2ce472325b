// The product of a wide linear, bf16, f16, e4m3 or int8, and what follows it in the same kernel.
//
//   sums [T, N] = x [T, K] W^T in float32, then the epilogue
//
// Work: a block makes Tile::rows x Tile::columns sums. One warp fetches tiles of x and W, 128 bytes of inputs a time,
// into a ring in shared memory; two warpgroups multiply what has come. Blocks of a cluster that have rows or outputs in
// common fetch a part each and send it to all, and those that split the inputs send their sums to the block that
// finishes the rows, which adds them in the order of the inputs. Weights are fetched before the dependency wait.
// Bound: the matrix unit, or what L2 can deliver: T N K (1 / Tile::columns + 1 / Tile::rows) elements, less what is
// shared. Reference: tests/reference/kernels.cpp, through the small ops that Ops composes.
#pragma once

#include <type_traits>

#include "backends/cuda/device/tensor_sm90.cuh"
#include "backends/cuda/device/wgmma_sm90.cuh"
#include "backends/cuda/wide/finish_sm90.cuh"

namespace nervus::cuda {

// One thread: fills the ring. Weights of the first stages do not wait for the kernel before.
template <typename T, typename Tile>
__device__ void wide_fetch(const CUtensorMap& x, const CUtensorMap& w, const WideArguments& a,
                           const WidePlace<Tile>& place, std::byte* ring, std::uint64_t* full, std::uint64_t* empty) {
  using Shared = WideShared<Tile>;
  constexpr int step = wide_step_bytes / static_cast<int>(sizeof(T)), stages = Shared::stages;
  constexpr int x_rows = Tile::rows / Tile::share_x, w_rows = Tile::columns / Tile::share_w;  // that this block fetches
  const int count = place.steps(a), first = place.first_step(a);
  const int x_part = place.share / Tile::share_w * x_rows, w_part = place.share % Tile::share_w * w_rows;
  const auto fetch_w = [&](int k, int stage) {
    std::byte* target = ring + stage * Shared::stage_bytes + Shared::x_bytes + w_part * wide_step_bytes;
    const int column = (first + k) * step, row = place.column_tile * Tile::columns + w_part;
    if constexpr (Tile::share_w > 1) tensor_load(target, w, column, row, full + stage, place.blocks());
    else tensor_load(target, w, column, row, full + stage);
  };
  const auto fetch_x = [&](int k, int stage) {
    std::byte* target = ring + stage * Shared::stage_bytes + x_part * wide_step_bytes;
    const int column = (first + k) * step, row = place.row_tile * Tile::rows + x_part;
    if constexpr (Tile::share_x > 1) tensor_load(target, x, column, row, full + stage, place.blocks());
    else tensor_load(target, x, column, row, full + stage);
  };
  const int early = min(count, stages);
  for (int k = 0; k < early; ++k) {
    barrier_expect(full + k, Shared::stage_bytes);
    fetch_w(k, k);
  }
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  for (int k = 0; k < early; ++k) fetch_x(k, k);
  for (int k = stages, stage = 0, turn = 0; k < count; ++k) {
    barrier_wait(empty + stage, turn);
    barrier_expect(full + stage, Shared::stage_bytes);
    fetch_w(k, stage);
    fetch_x(k, stage);
    if (++stage == stages) stage = 0, turn ^= 1;
  }
}

// The two warpgroups: sums of 64 rows a tile, Tile::rows / 128 tiles each.
template <typename T, typename Tile, int Tiles, typename Sum>
__device__ void wide_multiply(Sum (&sums)[Tiles][Tile::columns / 2], const WideArguments& a,
                              const WidePlace<Tile>& place, const std::byte* ring, std::uint64_t* full,
                              std::uint64_t* empty) {
  using Shared = WideShared<Tile>;
  constexpr int stages = Shared::stages;
  const int group = threadIdx.x / 128, lane = threadIdx.x % 32, count = place.steps(a);
  const std::uint32_t x_begin = shared_address(ring) + group * Tiles * 64 * wide_step_bytes;
  const std::uint32_t w_begin = shared_address(ring) + Shared::x_bytes;
  const auto release = [&](int stage) {
    if (lane < WidePlace<Tile>::sharers) barrier_arrive(empty + stage, place.part * WidePlace<Tile>::sharers + lane);
  };
  for (int k = 0, stage = 0, turn = 0, before = 0; k < count; ++k) {
    barrier_wait(full + stage, turn);
    products_begin();
#pragma unroll
    for (int step = 0; step < wide_step_bytes; step += 32) {
      const std::uint64_t w = swizzled_tile(w_begin + stage * Shared::stage_bytes + step);
#pragma unroll
      for (int tile = 0; tile < Tiles; ++tile) {
        const std::uint32_t x = x_begin + stage * Shared::stage_bytes + tile * 64 * wide_step_bytes + step;
        WarpgroupProduct<T, Tile::columns>::add(sums[tile], swizzled_tile(x), w, k > 0 || step > 0);
      }
    }
    products_commit();
    products_wait_but_one();
    if (k > 0 && k - 1 + stages < count) release(before);  // nobody waits for what is not filled again
    before = stage;
    if (++stage == stages) stage = 0, turn ^= 1;
  }
  products_wait();
}

// Sums of integers as those of rows times their scales.
template <typename Tile, int Tiles>
__device__ void wide_scale_rows(float (&sums)[Tiles][Tile::columns / 2], const int (&whole)[Tiles][Tile::columns / 2],
                                const WideArguments& a, const WidePlace<Tile>& place) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int row = place.row_tile * Tile::rows + (warp / 4 * Tiles + tile) * 64 + warp % 4 * 16 + lane / 4;
    const float scales[2] = {__ldcg(a.row_scales + min(row, a.rows - 1)),
                             __ldcg(a.row_scales + min(row + 8, a.rows - 1))};
#pragma unroll
    for (int i = 0; i < Tile::columns / 2; ++i) sums[tile][i] = __int2float_rn(whole[tile][i]) * scales[i % 4 / 2];
  }
}

template <typename T, typename Tile, typename Epilogue>
__global__ void __launch_bounds__(Tile::threads, 1)
    wide_product(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap w, const WideArguments a,
                 const Epilogue epilogue) {
  using Shared = WideShared<Tile>;
  constexpr int stages = Shared::stages, Tiles = Tile::rows / 128;
  static_assert(stages >= 2 && (2 * stages + 1) * 8 <= Shared::barrier_bytes);
  extern __shared__ __align__(1024) std::byte shared[];
  auto* full = reinterpret_cast<std::uint64_t*>(shared + Shared::barriers);
  std::uint64_t *empty = full + stages, *arrived = empty + stages;
  const WidePlace<Tile> place(a);
  if (threadIdx.x == wide_warps * 32) {
    map_prefetch(x), map_prefetch(w);
    for (int i = 0; i < stages; ++i) {
      barrier_init(full + i, 1);
      barrier_init(empty + i, WidePlace<Tile>::sharers * wide_warps);
    }
    barrier_init(arrived, 1);
    barrier_init_fence();
    if constexpr (Tile::split > 1)
      barrier_expect(arrived, Shared::received_bytes / Tile::split * (Tile::split - 1));  // but for its own
  }
  __syncthreads();
  if constexpr (Tile::cluster > 1) cluster_meet();
  if (threadIdx.x >= wide_warps * 32) {
    if constexpr (Tile::crowded) asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == wide_warps * 32) wide_fetch<T>(x, w, a, place, shared, full, empty);
    return;
  }
  if constexpr (Tile::crowded) asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  auto* constants = reinterpret_cast<float2*>(shared + Shared::constants);
  wide_load_constants<Tile>(constants, a, place);
  float sums[Tiles][Tile::columns / 2];
  if constexpr (sizeof(T) == 1 && std::is_integral_v<T>) {
    int whole[Tiles][Tile::columns / 2];
    wide_multiply<T, Tile>(whole, a, place, shared, full, empty);
    cudaGridDependencySynchronize();
    wide_scale_rows<Tile>(sums, whole, a, place);
  } else {
    wide_multiply<T, Tile>(sums, a, place, shared, full, empty);
    cudaGridDependencySynchronize();  // of what the epilogue reads and overwrites
  }
  if constexpr (Tile::split > 1) {
    static_assert(Tiles == 1);
    wide_finish_split<Tile>(sums[0], a, place, constants, shared + Shared::received, arrived, epilogue);
  } else if constexpr (Epilogue::staged_bytes > 0) {
    wide_finish_staged<Tile>(sums, a, place, constants, shared, epilogue);
  } else {
    wide_finish<Tile>(sums, a, place, constants, epilogue);
  }
}

}  // namespace nervus::cuda
