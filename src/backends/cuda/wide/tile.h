// How the product of a wide linear is cut into thread blocks; wide/product_sm90.cuh and wide/persistent_sm90.cuh have
// the kernels.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/dtype.h"

namespace nervus::cuda {

// What follows the product, which decides in which order the outputs lie.
enum class WideRole {
  add,      // h += gate (x W^T + b): outputs as they are
  qkv,      // rotation, and keys and values into the cache: 8 channels i, then the 8 of i + d / 2 of the same head
  gate_up,  // swiglu: 8 channels of gate, then the same of up
  // The same in fused blocks, where norms are no pass of their own (Residual).
  fused_add,
  fused_qkv,
  fused_gate_up,
};
// What follows the product but for norms.
constexpr WideRole apart(WideRole role) {
  return role == WideRole::fused_add       ? WideRole::add
         : role == WideRole::fused_qkv     ? WideRole::qkv
         : role == WideRole::fused_gate_up ? WideRole::gate_up
                                           : role;
}

// A thread block multiplies `rows` rows by `columns` outputs. In a cluster, `share_x` blocks side by side have the rows
// in common and `share_w` blocks the outputs: each fetches a part for all. `split` blocks share the inputs. Persistent
// blocks are at most as many as the device holds, and each makes one tile after the other.
struct WideTile {
  int rows = 0;
  int columns = 0;
  int share_w = 1;
  int share_x = 1;
  int split = 1;
  bool persistent = false;

  constexpr int cluster() const { return share_w * share_x * split; }
  constexpr bool operator==(const WideTile&) const = default;
};

// Those that are compiled.
inline constexpr WideTile wide_add_tiles[] = {{.rows = 128, .columns = 64, .share_w = 2},
                                              {.rows = 128, .columns = 64, .share_w = 2, .split = 2},
                                              {.rows = 128, .columns = 96, .share_w = 2, .split = 2},
                                              {.rows = 128, .columns = 128, .share_w = 2, .split = 2},
                                              {.rows = 128, .columns = 128, .share_w = 2, .split = 4},
                                              {.rows = 128, .columns = 144, .share_w = 2, .split = 4},
                                              {.rows = 128, .columns = 128, .share_w = 2},
                                              {.rows = 128, .columns = 256, .share_w = 2}};
inline constexpr WideTile wide_qkv_tiles[] = {{.rows = 128, .columns = 96, .share_w = 2},
                                              {.rows = 128, .columns = 96, .share_w = 2, .split = 2},
                                              {.rows = 128, .columns = 192, .share_w = 2},
                                              {.rows = 128, .columns = 256, .share_w = 2},
                                              {.rows = 128, .columns = 128, .share_w = 2, .persistent = true}};
inline constexpr WideTile wide_gate_up_tiles[] = {{.rows = 128, .columns = 176, .share_w = 2},
                                                  {.rows = 256, .columns = 160, .share_x = 2},
                                                  {.rows = 256, .columns = 176, .share_x = 2},
                                                  {.rows = 128, .columns = 256, .share_w = 2},
                                                  {.rows = 128, .columns = 160, .share_w = 2, .persistent = true}};
// Of one that adds, 32 outputs are finished together.
inline constexpr WideTile wide_fused_add_tiles[] = {{.rows = 128, .columns = 64, .share_w = 2},
                                                    {.rows = 128, .columns = 64, .share_w = 2, .split = 2},
                                                    {.rows = 128, .columns = 64, .share_x = 4, .split = 2},
                                                    {.rows = 128, .columns = 96, .share_w = 2, .split = 2},
                                                    {.rows = 128, .columns = 128, .share_w = 2},
                                                    {.rows = 128, .columns = 128, .share_w = 2, .split = 2}};
inline constexpr WideTile wide_fused_qkv_tiles[] = {{.rows = 128, .columns = 96, .share_w = 2},
                                                    {.rows = 128, .columns = 192, .share_w = 2},
                                                    {.rows = 128, .columns = 256, .share_w = 2}};
inline constexpr WideTile wide_fused_gate_up_tiles[] = {{.rows = 128, .columns = 176, .share_w = 2},
                                                        {.rows = 256, .columns = 176, .share_x = 2},
                                                        {.rows = 128, .columns = 256, .share_w = 2}};
std::span<const WideTile> wide_tiles(WideRole role);

// "128 x 96, weights shared by 2, inputs split by 2"
std::string name_of(const WideTile& tile);

// Whether a wide kernel has a linear of this shape; head_size is that of a qkv.
bool wide_fits(WideRole role, std::int64_t outputs, std::int64_t inputs, std::int64_t head_size, DType dtype);
// Whether the wide kernels of fused blocks have a residual stream of this width.
constexpr int wide_most_parts = 32;  // sums of 32 squares each, of a row
constexpr bool wide_stream_fits(std::int64_t width) { return width % 128 == 0 && width <= 32 * wide_most_parts; }
// Whether the tile can compute it: each part of the inputs has some.
bool wide_fits(const WideTile& tile, std::int64_t inputs, DType dtype);

// The row of the weight matrix that makes output n of the packed one.
std::int64_t wide_source_row(WideRole role, std::int64_t n, std::int64_t outputs, std::int64_t head_size);

}  // namespace nervus::cuda
