// How a product of the fused kernels (product_sm90.cuh) is cut: a block's threads, its memory, what it is told.
#pragma once

#include <cstddef>

#include "backends/cuda/device/next.cuh"
#include "backends/cuda/trace.cuh"

namespace nervus::cuda {

constexpr int block_threads = 256;
// With how many threads a block is launched. Where two blocks of a kernel share a multiprocessor they end long after
// the others, and some are put so while whole multiprocessors are idle. In e4m3 a block therefore has four warps more,
// which leave at once, and their registers with them: while the kernel is being placed no two fit (of the 512 registers
// that a quarter of a multiprocessor has for each lane, a warp of qkv, gate_up and down takes 88 to 112), but one does
// beside a block of the kernel before. In bf16 they take more, and it would not.
template <typename T>
constexpr int launched_threads = sizeof(T) == 1 ? block_threads + 128 : block_threads;

// Whether products of N outputs have more blocks than multiprocessors where their rows are more than a tile, so that
// one waits for another to end, unless two of them fit. Gate and up would not, in e4m3 for the registers of its warps
// more, in bf16 for memory.
constexpr bool crowds(int N) { return N == 96; }

struct ProductArguments {
  const void* x;         // tiled [rows, inputs]
  const void* weight;    // packed
  const float* squares;  // [rows, parts], or null
  int rows, inputs, parts;
  float inverse_width;  // 1 / inputs
  Next next;
  Trace trace;
};

// Shared memory of a block. A unit is what a warp finishes at once: 16 rows x 8 Blocks outputs. Reuse: the sums that
// warpgroups exchange take the place of weights.
template <int N, int C, int Steps, typename Epilogue, bool Reuse = false>
struct ProductShared {
  static constexpr int Blocks = Epilogue::blocks;
  static constexpr int owners = C < 4 ? C : 4;  // blocks that finish rows
  static constexpr int owned_rows = 64 / owners;
  static constexpr int units = 4 / owners * (N / 8 / Blocks);
  static constexpr int weight_bytes = 2 * Steps * 32 * N;
  static constexpr int exchange_bytes = N / 8 * 2048;
  static constexpr int exchange = Reuse ? 0 : weight_bytes;  // [4 warps][N / 8][32] float4
  static_assert(!Reuse || exchange_bytes <= weight_bytes);
  static constexpr int received = weight_bytes + (Reuse ? 0 : exchange_bytes);  // [C][units][Blocks][32] float4
  static constexpr int received_bytes = C * units * Blocks * 512;
  static constexpr int local_warps = 2 * (4 / owners);     // whose rows their own block finishes
  static constexpr int norms = received + received_bytes;  // [owned_rows]
  static constexpr int own = norms + 256;                  // the epilogue's
  static constexpr int barriers = own + Epilogue::shared_bytes;
  static constexpr int bytes = barriers + 32;
};

}  // namespace nervus::cuda
