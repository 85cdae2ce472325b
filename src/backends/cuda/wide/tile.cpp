#include "backends/cuda/wide/tile.h"

#include "core/message.h"

namespace nervus::cuda {

std::span<const WideTile> wide_tiles(WideRole role) {
  switch (role) {
    case WideRole::add: return wide_add_tiles;
    case WideRole::qkv: return wide_qkv_tiles;
    case WideRole::gate_up: return wide_gate_up_tiles;
    case WideRole::fused_add: return wide_fused_add_tiles;
    case WideRole::fused_qkv: return wide_fused_qkv_tiles;
    case WideRole::fused_gate_up: return wide_fused_gate_up_tiles;
  }
  return {};
}

std::string name_of(const WideTile& tile) {
  std::string name = concat(tile.rows, " x ", tile.columns);
  if (tile.share_w > 1) name += concat(", weights shared by ", tile.share_w);
  if (tile.share_x > 1) name += concat(", rows shared by ", tile.share_x);
  if (tile.split > 1) name += concat(", inputs split by ", tile.split);
  if (tile.persistent) name += ", persistent";
  return name;
}

bool wide_fits(WideRole role, std::int64_t outputs, std::int64_t inputs, std::int64_t head_size, DType dtype) {
  if (size_of(dtype) > 2) return false;
  const std::int64_t whole = 16 / static_cast<std::int64_t>(size_of(dtype));  // rows begin at multiples of 16 bytes
  const bool pairs = apart(role) == WideRole::qkv ? head_size > 0 && head_size % 16 == 0 : outputs % 16 == 0;
  return pairs && inputs % whole == 0;
}

bool wide_fits(const WideTile& tile, std::int64_t inputs, DType dtype) {
  const std::int64_t step = 128 / static_cast<std::int64_t>(size_of(dtype));
  return (inputs + step - 1) / step >= tile.split;
}

std::int64_t wide_source_row(WideRole role, std::int64_t n, std::int64_t outputs, std::int64_t head_size) {
  if (apart(role) == WideRole::add) return n;
  const std::int64_t channel = n / 16 * 8 + n % 8, second = n % 16 / 8;
  if (apart(role) == WideRole::gate_up) return channel + second * (outputs / 2);
  const std::int64_t half = head_size / 2;
  return channel / half * head_size + channel % half + second * half;
}

}  // namespace nervus::cuda
