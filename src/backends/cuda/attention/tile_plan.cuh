// What the kernels of many rows compute at once: tiles of 64 rows of a head, by blocks of 64 cache slots.
#pragma once

#include "backends/cuda/attention/span.cuh"
#include "backends/kernels.h"

namespace nervus::cuda {

constexpr int tile_rows = Visible::tile, block_keys = 64, most_blocks = 512;

// 64 slots or fewer: those from `base` on, of the rows' first ranges or of the second.
struct Block {
  int base, slots;
  bool second;

  // Of the blocks of both parts of a span, each begins with a block of its own.
  __device__ Block(const Span& span, int index) {
    const int before = count_of(span.first_count);
    second = index >= before;
    const int at = (second ? index - before : index) * block_keys;
    base = (second ? span.second : span.first) + at;
    slots = min((second ? span.total - span.first_count : span.first_count) - at, block_keys);
  }
  static __device__ int count(const Span& span) {
    return count_of(span.first_count) + count_of(span.total - span.first_count);
  }
  static __device__ int count_of(int slots) { return (slots + block_keys - 1) / block_keys; }
  // What a row sees of it: [begin, end), from the block's first slot on.
  __device__ int2 sight(const int4& range) const {
    return second ? make_int2(range.z - base, range.w - base) : make_int2(range.x - base, range.y - base);
  }
};

// Whether a row that has this sight sees slot `slot` of the block; without branches.
__device__ inline bool sees(const int2& sight, int slot) {
  return static_cast<unsigned>(slot - sight.x) < static_cast<unsigned>(max(sight.y - sight.x, 0));
}

// The rows of a tile and the blocks that some of them sees, in shared memory.
struct TilePlan {
  int rows[tile_rows];  // -1 for none
  int4 ranges[tile_rows];
  unsigned short seen[most_blocks];
  int count;  // of the blocks seen

  // By all threads: of this thread block's tile, of `row_count` rows in the order that is given where one is. Returns
  // the span of all.
  __device__ Span make(const int4* all_ranges, const int* order, int row_count) {
    const int lane = threadIdx.x % 32;
    if (threadIdx.x < tile_rows) {
      int row = static_cast<int>(blockIdx.x) * tile_rows + static_cast<int>(threadIdx.x);
      if (order != nullptr) row = order[row];
      else if (row >= row_count) row = -1;
      rows[threadIdx.x] = row;
      ranges[threadIdx.x] = row >= 0 ? all_ranges[row] : make_int4(0, 0, 0, 0);
    }
    __syncthreads();
    const int4 mine[2] = {ranges[lane], ranges[lane + 32]};
    const Span span = span_of(mine);
    if (threadIdx.x < 32) {
      int found = 0;
      for (int index = 0; index < Block::count(span); ++index) {
        const Block block(span, index);
        bool sees = false;
        for (const int4& range : mine) {
          const int2 sight = block.sight(range);
          sees |= sight.x < sight.y && sight.x < block.slots && sight.y > 0;
        }
        if (!__any_sync(~0u, sees)) continue;
        if (lane == 0) seen[found] = static_cast<unsigned short>(index);
        ++found;
      }
      if (lane == 0) count = found;
    }
    __syncthreads();
    return span;
  }
};

}  // namespace nervus::cuda
