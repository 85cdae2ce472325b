// Rows of tiled activations that a tile takes from anywhere, as narrow.cu does where those of several samples come in
// an order of their own.
#pragma once

#include <cstdint>

#include "backends/cuda/device/values.cuh"

namespace nervus::cuda {

// Two rows of a tile, lane / 4 and 8 more, of a head of `columns`, as this lane has them: of a step (tiled_offset) four
// words of 32 bits, of each half of it both rows. Words are counted from the first row's; negative: there is no row.
template <int columns, int element>
struct ScatteredRows {
  static constexpr int steps = columns * element / 32;  // of a head
  int word[2];                                          // of the first step

  __device__ ScatteredRows(const int (&rows)[2], int heads, int head) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int lane = rows[r] % 8 * 4 + static_cast<int>(threadIdx.x) % 4;
      word[r] = rows[r] < 0 ? -1 : ((rows[r] / 16 * heads + head) * steps * 32 + lane) * 4 + rows[r] % 16 / 8;
    }
  }
  // A step's four words from x, zeros where there is no row; they are there after copies_wait.
  __device__ void copy_async(std::uint32_t* target, const void* x, int step) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto* source = static_cast<const std::uint32_t*>(x) + word[i % 2] + step * 128 + i / 2 * 2;
      if (word[i % 2] < 0) target[i] = 0;
      else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(
                         static_cast<std::uint32_t>(__cvta_generic_to_shared(target + i))),
                     "l"(source)
                     : "memory");
    }
  }
  // To y: this row's word of a half of a step.
  __device__ void store(void* y, int row, int step, int half, std::uint32_t value) const {
    if (word[row] >= 0) static_cast<std::uint32_t*>(y)[word[row] + step * 128 + half * 2] = value;
  }
};

}  // namespace nervus::cuda
