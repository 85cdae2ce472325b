// How a wide product (product_sm90.cuh) fills its ring in shared memory.
#pragma once

#include "backends/cuda/device/tensor_sm90.cuh"
#include "backends/cuda/wide/cut_sm90.cuh"

namespace nervus::cuda {

// What one thread fetches: tiles of x and W into the ring.
template <typename T, typename Tile>
struct WideFetch {
  using Shared = WideShared<Tile>;
  static constexpr int step = wide_step_bytes / static_cast<int>(sizeof(T)), stages = Shared::stages;
  // Of the rows and of the outputs, what a block fetches for all that share them.
  static constexpr int x_rows = Tile::rows / Tile::share_x, w_rows = Tile::columns / Tile::share_w;
  const CUtensorMap& x;
  const CUtensorMap& w;
  const WidePlace<Tile>& place;
  const int first, count;  // of the steps
  std::byte* ring;
  std::uint64_t *full, *empty;

  __device__ void make_barriers() const {
    for (int i = 0; i < stages; ++i) {
      barrier_init(full + i, 1);
      barrier_init(empty + i, WidePlace<Tile>::sharers * Tile::readers);
    }
  }
  // Weights of the first stage, before the blocks of a cluster have met: all parts, for this block alone.
  __device__ void begin() const {
    barrier_expect(full, Shared::stage_bytes);
    for (int part = 0; part < Tile::share_w; ++part) {
      std::byte* target = ring + Shared::x_bytes + part * w_rows * wide_step_bytes;
      tensor_load(target, w, first * step, place.column_tile * Tile::columns + part * w_rows, full);
    }
  }
  __device__ void fetch_w(int k, int stage) const {
    const int part = place.share % Tile::share_w * w_rows;
    std::byte* target = ring + stage * Shared::stage_bytes + Shared::x_bytes + part * wide_step_bytes;
    const int column = (first + k) * step, row = place.column_tile * Tile::columns + part;
    if constexpr (Tile::share_w > 1) tensor_load(target, w, column, row, full + stage, place.blocks());
    else tensor_load(target, w, column, row, full + stage);
  }
  __device__ void fetch_x(int k, int stage) const {
    const int part = place.share / Tile::share_w * x_rows;
    std::byte* target = ring + stage * Shared::stage_bytes + part * wide_step_bytes;
    const int column = (first + k) * step, row = place.row_tile * Tile::rows + part;
    if constexpr (Tile::share_x > 1) tensor_load(target, x, column, row, full + stage, place.blocks());
    else tensor_load(target, x, column, row, full + stage);
  }
  // When the blocks have met: all stages, as far as there are steps, some with weights before the dependency wait.
  // Returns how many it has filled.
  __device__ int fill(int weights_ahead) const {
    const auto begin_stage = [&](int k) {
      barrier_expect(full + k, Shared::stage_bytes);
      fetch_w(k, k);
    };
    const int filled = min(count, stages);
    for (int k = 1; k < min(weights_ahead, filled); ++k) begin_stage(k);
    cudaGridDependencySynchronize();
    cudaTriggerProgrammaticLaunchCompletion();
    for (int k = 0; k < filled; ++k) {
      if (k >= weights_ahead) begin_stage(k);
      fetch_x(k, k);
    }
    return filled;
  }
  // The tile of a block.
  __device__ void run(int weights_ahead) const {
    fill(weights_ahead);
    for (int k = stages, stage = 0, turn = 0; k < count; ++k) {
      barrier_wait(empty + stage, turn);
      barrier_expect(full + stage, Shared::stage_bytes);
      fetch_w(k, stage);
      fetch_x(k, stage);
      if (++stage == stages) stage = 0, turn ^= 1;
    }
  }
  // The tiles of a persistent block, from `at` on, which `place` refers to.
  __device__ void run(int weights_ahead, const WideArguments& a, WidePlace<Tile>& at) const {
    int k = fill(weights_ahead), fills = k;
    for (; at.exists(a); at.next(a)) {
      for (; k < count; ++k, ++fills) {
        const int stage = fills % stages;
        if (fills >= stages) barrier_wait(empty + stage, (fills / stages - 1) % 2);
        barrier_expect(full + stage, Shared::stage_bytes);
        fetch_w(k, stage);
        fetch_x(k, stage);
      }
      k = 0;
    }
  }
};

}  // namespace nervus::cuda
