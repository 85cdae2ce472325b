#include "backends/cuda/block/formats.h"

#include <algorithm>
#include <array>

#include "backends/cuda/block/layout.h"
#include "backends/cuda/wide/tile.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

// One of the four linears.
struct Place {
  std::string_view end;  // of its name
  BlockRole role;
  std::int64_t outputs, inputs;

  WideRole wide_role() const {
    return role == BlockRole::qkv ? WideRole::qkv : role == BlockRole::gate_up ? WideRole::gate_up : WideRole::add;
  }
  // Whether there is a kernel for it.
  bool fits(bool wide, DType dtype, std::int64_t head_size) const {
    if (wide) return wide_fits(wide_role(), outputs, inputs, head_size, dtype);
    return choose_block_layout(role, outputs, inputs, head_size, dtype).columns > 0;
  }
};

using Places = std::array<Place, 4>;

Places places_of(const BlockShape& shape) {
  const std::int64_t queries = shape.heads.query * shape.heads.size;
  return {{
      {shape.qkv, BlockRole::qkv, queries + 2 * shape.heads.key_value * shape.heads.size, shape.width},
      {shape.out, BlockRole::add, shape.width, queries},
      {shape.gate_up, BlockRole::gate_up, 2 * shape.inner, shape.width},
      {shape.down, BlockRole::add, shape.width, shape.inner},
  }};
}

// Whether there are kernels for the block in bf16.
bool shape_fits(const BlockShape& shape, const Places& places, bool wide) {
  if (wide ? !wide_stream_fits(shape.width) : !block_stream_fits(shape.width, shape.heads.size)) return false;
  return std::ranges::all_of(places, [&](const Place& p) { return p.fits(wide, DType::bf16, shape.heads.size); });
}

// Null where the name is none of theirs.
const Place* place_of(std::string_view linear, const Places& places) {
  const auto found = std::ranges::find_if(
      places, [&](const Place& place) { return !place.end.empty() && linear.ends_with(place.end); });
  return found == places.end() ? nullptr : &*found;
}

// Empty where the fused kernels have the linear in e4m3.
std::string why_not(const std::string& linear, DType dtype, const Place* place, bool wide, std::int64_t head_size) {
  const std::string what = concat(linear, " is in ", name_of(dtype));
  if (place == nullptr) return what + ", and none of the block's four";
  if (dtype != DType::e4m3) return concat(what, ", expected ", name_of(DType::e4m3), " or bf16");
  if (place->fits(wide, dtype, head_size)) return "";
  return concat(what, ", which has no kernel for ", place->inputs, " inputs");
}

}  // namespace

FusedBlock not_fused(const std::string& why) {
  FusedBlock block;
  block.text = "not fused: " + why;
  return block;
}

FusedBlock fuse_block(const BlockShape& shape, const Formats& given) {
  const bool wide = shape.rows > most_block_rows;
  const Places places = places_of(shape);
  if (!shape_fits(shape, places, wide)) return not_fused("no kernels for this shape");
  FusedBlock block;
  block.plan.fused = true;
  block.plan.wide = wide;
  block.text = wide ? "five kernels of wide tiles a layer" : "five fused kernels a layer";
  std::int64_t quantised = 0, left = 0;
  for (const auto& [linear, format] : given) {
    const Place* place = place_of(linear, places);
    const std::string refusal = why_not(linear, format.dtype, place, wide, shape.heads.size);
    if (!refusal.empty()) return not_fused(refusal);
    const float scale = place->role == BlockRole::add ? format.scale : format.stream;
    block.plan.inputs[linear] = scale > 0 ? Encoding{format.dtype, scale} : Encoding{DType::bf16};
    ++(scale > 0 ? quantised : left);
  }
  if (quantised > 0) block.text += concat(", ", plural(quantised, "linear"), " in ", name_of(DType::e4m3));
  if (left > 0) {
    block.text += concat(", ", plural(left, "linear"), " in bf16: the calibration has no range of the stream before ",
                         left == 1 ? "its norm" : "their norms", ": run `nervus calibrate` again");
  }
  return block;
}

}  // namespace nervus::cuda
