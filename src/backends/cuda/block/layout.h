// How the linear of a transformer block lies in memory for the fused kernels: in the order in which warpgroups consume
// it, so that a thread block fetches its share with one bulk copy.
//
// A cluster of `cluster` thread blocks makes `columns` outputs; each block multiplies 1 / cluster of the inputs, each
// of its two warpgroups half of those, `steps` steps of 16. Packed order, outermost first:
//   tile [outputs / columns], block of the cluster, warpgroup, step of 16 inputs, half of the step, 8 x 8 tiles.
// Activations between these kernels are `tiled` (core/tensor.h): in the order in which the matrix unit takes them.
#pragma once

#include <cstdint>

#include "backends/linear.h"

namespace nervus::cuda {

// What follows the product; it decides which outputs lie side by side.
enum class BlockRole {
  qkv,      // the two values that a rotation mixes: i and i + d / 2 of a head
  gate_up,  // gate and up of the same channel
  add,      // outputs as they are
};

struct BlockLayout {
  BlockRole role = BlockRole::add;
  std::int64_t inputs = 0;     // K
  std::int64_t outputs = 0;    // N
  std::int64_t head_size = 0;  // of a qkv
  int columns = 0;
  int cluster = 0;
  int steps = 0;

  static constexpr int warpgroups = 2;
  static constexpr int step_inputs = 16;

#ifdef __CUDACC__
#define NERVUS_HOST_DEVICE __host__ __device__
#else
#define NERVUS_HOST_DEVICE
#endif
  NERVUS_HOST_DEVICE std::int64_t tiles() const { return (outputs + columns - 1) / columns; }
  // Elements of one warpgroup's share.
  NERVUS_HOST_DEVICE std::int64_t share() const { return static_cast<std::int64_t>(steps) * step_inputs * columns; }
  NERVUS_HOST_DEVICE std::int64_t elements() const { return tiles() * cluster * warpgroups * share(); }

  // The row of the weight matrix that makes packed output n. Of 16 outputs, a thread finishes 2 t, 2 t + 1, 2 t + 8 and
  // 2 t + 9: two neighbouring channels, of which each has two values where the role mixes them.
  NERVUS_HOST_DEVICE std::int64_t source_row(std::int64_t n) const {
    if (role == BlockRole::add) return n;
    const std::int64_t channel = n / 16 * 8 + n % 8 / 2 * 2 + n % 16 / 8, second = n % 2;
    if (role == BlockRole::gate_up) return channel + second * (outputs / 2);
    const std::int64_t half = head_size / 2;
    return channel / half * head_size + channel % half + second * half;
  }

  // Where element (packed output n, input k) lies.
  NERVUS_HOST_DEVICE std::int64_t offset(std::int64_t n, std::int64_t k) const {
    const std::int64_t tile = n / columns, column = n % columns;
    const std::int64_t step = k / step_inputs, part = step / steps;  // (block of the cluster, warpgroup)
    return (tile * cluster * warpgroups + part) * share() + step % steps * step_inputs * columns +
           k % 16 / 8 * 8 * columns + column / 8 * 64 + column % 8 * 8 + k % 8;
  }
#undef NERVUS_HOST_DEVICE
};

// Where element (row, column) of a tiled activation lies: 16 x 16 tiles, row by row of tiles; within one, lane
// (row % 8, column % 8 / 2) of a warp has eight elements together.
#ifdef __CUDACC__
__host__ __device__
#endif
    inline std::int64_t
    tiled_offset(std::int64_t row, std::int64_t column, std::int64_t columns) {
  const std::int64_t tile = row / 16 * (columns / 16) + column / 16, lane = row % 8 * 4 + column % 8 / 2;
  return (tile * 32 + lane) * 8 + column % 16 / 8 * 4 + row % 16 / 8 * 2 + column % 2;
}

// Whether the fused kernels have all four linears of the block.
bool block_fits(const BlockShape& shape);

// The layout of a linear, or columns = 0 where the fused kernels do not have its shape.
BlockLayout choose_block_layout(BlockRole role, std::int64_t outputs, std::int64_t inputs, std::int64_t head_size);

}  // namespace nervus::cuda
