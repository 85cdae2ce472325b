// How a wide product (product_sm90.cuh) is cut: a block's tile, its memory, its place among the others.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cuda/device/tensor_sm90.cuh"
#include "backends/cuda/trace.cuh"
#include "backends/cuda/wide/tile.h"

namespace nervus::cuda {

constexpr int wide_warps = 8;  // that multiply, in two warpgroups
constexpr int wide_shared_bytes = 227 << 10;
constexpr int wide_step_bytes = 128;  // of a row, in one stage of the ring

// A tile (tile.h) as the kernel's parameter.
template <int Rows, int Columns, int ShareW, int ShareX, int Split, bool Persistent>
struct WideCut {
  static constexpr int rows = Rows, columns = Columns, share_w = ShareW, share_x = ShareX, split = Split;
  static constexpr int cluster = ShareW * ShareX * Split;
  static constexpr bool persistent = Persistent;
  // What a warpgroup multiplies: tiles of 64 rows. Persistent warpgroups make whole tiles in turn, others half of one.
  static constexpr int group_tiles = Rows / 64 / (Persistent ? 1 : 2), sums = group_tiles * Columns / 2;  // a thread
  static constexpr int readers = wide_warps / (Persistent ? 2 : 1);                                       // of a stage
  // Many sums take registers from the warps that fetch, which then are a warpgroup.
  static constexpr bool crowded = sums > 96 || persistent;
  static constexpr int threads = wide_warps * 32 + (crowded ? 128 : 32);
};

struct WideArguments {
  int rows, outputs, steps;  // steps of 128 bytes of inputs
  int across, tiles;         // in units of a cluster's tiles: how many along the rows, how many in all
  const float* scale;        // of each output, or null for 1
  const float* bias;         // or null
  const float* gate;         // of sum and bias, or null
  const float* row_scales;   // of int8: of each row of x
  const float* squares;      // where x is a stream before its norm: [rows, parts], sums of parts of a row
  int parts;
  float inverse_width;  // of that stream
  [[no_unique_address]] Trace trace;
};

template <typename Tile>
struct WideShared {
  static constexpr int x_bytes = Tile::rows * wide_step_bytes, w_bytes = Tile::columns * wide_step_bytes;
  static constexpr int stage_bytes = x_bytes + w_bytes;
  static constexpr int received_bytes = Tile::split > 1 ? Tile::rows* Tile::columns * 4 : 0;
  // Persistent warpgroups have constants each, and stage what they store beside the ring, which is being filled.
  static constexpr int constant_bytes = Tile::columns * (Tile::persistent ? 16 : 8), barrier_bytes = 256;
  static constexpr int room = wide_shared_bytes - received_bytes - constant_bytes - barrier_bytes;
  static constexpr int least_staged = Tile::persistent ? 24576 : 0;  // 192 a row (docs/performance.md, tried and lost)
  static constexpr int row_units = wide_warps * 16 * 16;             // 16 bytes of each of the warps' 16 rows
  static constexpr int fitting = (room - least_staged) / stage_bytes, stages = fitting < 8 ? fitting : 8;
  static constexpr int staged_bytes = Tile::persistent ? (room - stages * stage_bytes) / row_units * row_units : 0;
  static constexpr int received = stages * stage_bytes, staged = received + received_bytes;
  static constexpr int constants = staged + staged_bytes;
  static constexpr int barriers = constants + constant_bytes;
  static constexpr int bytes = barriers + barrier_bytes;
};

// Where a block is, and whom it shares with.
template <typename Tile>
struct WidePlace {
  static constexpr int sharers = Tile::share_w * Tile::share_x;
  int share, part, row_tile, column_tile;
  int cluster;  // whose tiles these are: a persistent block goes on to those that later ones would have

  __device__ explicit WidePlace(const WideArguments& a) : cluster(blockIdx.x / Tile::cluster) {
    const int rank = static_cast<int>(blockIdx.x % Tile::cluster);
    share = rank % sharers, part = rank / sharers;
    find_tile(a);
  }
  __device__ void find_tile(const WideArguments& a) {
    row_tile = cluster % a.across * Tile::share_w + share % Tile::share_w;
    column_tile = cluster / a.across * Tile::share_x + share / Tile::share_w;
  }
  // Of a persistent block: how many tiles it makes, this one included.
  __device__ int tiles_left(const WideArguments& a) const {
    const int clusters = static_cast<int>(gridDim.x) / Tile::cluster;
    return (a.tiles - cluster + clusters - 1) / clusters;
  }
  // To the block's tile after this one, or to the one after that; exists() says whether there is one.
  __device__ void next(const WideArguments& a, int count = 1) {
    cluster += count * static_cast<int>(gridDim.x) / Tile::cluster;
    find_tile(a);
  }
  __device__ bool exists(const WideArguments& a) const { return cluster < a.tiles; }
  __device__ int first_step(const WideArguments& a) const { return a.steps * part / Tile::split; }
  __device__ int steps(const WideArguments& a) const { return a.steps * (part + 1) / Tile::split - first_step(a); }
  __device__ std::uint16_t blocks() const { return static_cast<std::uint16_t>(((1 << sharers) - 1) << part * sharers); }
  // The first of a warpgroup's rows.
  __device__ int group_row() const {
    return row_tile * Tile::rows +
           (Tile::persistent ? 0 : static_cast<int>(threadIdx.x) / 128 * Tile::group_tiles * 64);
  }
};

// The warps that multiply have come this far.
__device__ inline void wide_meet() { asm volatile("bar.sync 1, %0;" ::"n"(wide_warps * 32) : "memory"); }

}  // namespace nervus::cuda
