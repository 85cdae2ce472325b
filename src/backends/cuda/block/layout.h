// How the linear of a transformer block lies in memory for the fused kernels: in the order in which warpgroups consume
// it, so that a thread block fetches its share with one bulk copy.
//
// A cluster of `cluster` thread blocks makes `columns` outputs; each block multiplies 1 / cluster of the inputs, each
// of its two warpgroups half of those, `steps` steps of 32 bytes: 16 inputs in bf16, 32 in e4m3. Packed order,
// outermost first:
//   tile [outputs / columns], block of the cluster, warpgroup, step, half of the step, tiles of 8 outputs x 16 bytes.
// Activations between these kernels are `tiled` (core/tensor.h): in the order in which the matrix unit takes them. It
// sums over a step in any order that both factors have: in e4m3 they are in that of `within_half`.
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

inline const char* name_of(BlockRole role) {
  return role == BlockRole::qkv ? "qkv" : role == BlockRole::gate_up ? "gate_up" : "add";
}

#ifdef __CUDACC__
#define NERVUS_HOST_DEVICE __host__ __device__
#else
#define NERVUS_HOST_DEVICE
#endif

// Inputs of a step, of `element` bytes each.
NERVUS_HOST_DEVICE constexpr std::int64_t step_inputs(int element) { return 32 / element; }

// Where input k lies in its half of a step. Lane k % 8 / 2 of four has the pairs of every eight inputs together: what
// the thread holds that computes them.
NERVUS_HOST_DEVICE constexpr std::int64_t within_half(std::int64_t k, int element) {
  return k % 8 / 2 * (4 / element) + k % (16 / element) / 8 * 2 + k % 2;
}

struct BlockLayout {
  BlockRole role = BlockRole::add;
  std::int64_t inputs = 0;     // K
  std::int64_t outputs = 0;    // N
  std::int64_t head_size = 0;  // of a qkv
  int columns = 0;
  int cluster = 0;
  int steps = 0;
  int element = 2;  // bytes of an input

  static constexpr int warpgroups = 2;

  NERVUS_HOST_DEVICE std::int64_t tiles() const { return (outputs + columns - 1) / columns; }
  // Elements of one warpgroup's share.
  NERVUS_HOST_DEVICE std::int64_t share() const { return steps * step_inputs(element) * columns; }
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
    const std::int64_t tile = n / columns, column = n % columns, inputs_a_step = step_inputs(element);
    const std::int64_t step = k / inputs_a_step, part = step / steps;  // (block of the cluster, warpgroup)
    const std::int64_t half = inputs_a_step / 2;                       // 16 bytes
    return (tile * cluster * warpgroups + part) * share() + step % steps * inputs_a_step * columns +
           k % inputs_a_step / half * half * columns + column * half + within_half(k, element);
  }
};

// Where element (row, column) of a tiled activation lies: tiles of 16 rows and one step, row by row of tiles; within
// one, lane (row % 8, column % 8 / 2) of a warp has 16 bytes together: of each half of the step both rows, 8 apart.
NERVUS_HOST_DEVICE constexpr int tiled_offset(int row_index, int column_index, int columns, int element = 2) {
  // Unsigned, of which every division below is a shift: kernels compute this while they prepare.
  const auto row = static_cast<unsigned>(row_index), column = static_cast<unsigned>(column_index);
  const auto step = static_cast<unsigned>(step_inputs(element)), half = step / 2;
  const unsigned tile = row / 16 * (static_cast<unsigned>(columns) / step) + column / step;
  const unsigned lane = row % 8 * 4 + column % 8 / 2;
  return static_cast<int>((tile * 32 + lane) * half + column % step / half * (half / 2) + row % 16 / 8 * (half / 4) +
                          column % half / 8 * 2 + column % 2);
}
#undef NERVUS_HOST_DEVICE

constexpr std::int64_t most_block_rows = 128;  // beyond, wide tiles are faster

// Whether the fused kernels have a stream of this width, and the attention between them such heads.
bool block_stream_fits(std::int64_t width, std::int64_t head_size);

// The layout of a linear whose inputs and weights are bf16 or e4m3; columns = 0 where the fused kernels do not have it.
BlockLayout choose_block_layout(BlockRole role, std::int64_t outputs, std::int64_t inputs, std::int64_t head_size,
                                DType dtype = DType::bf16);

}  // namespace nervus::cuda
