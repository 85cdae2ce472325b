#include "backends/cuda/block/formats.h"

#include <algorithm>
#include <array>

#include "backends/cuda/block/layout.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

// One of the four linears.
struct Place {
  std::string_view end;  // of its name
  BlockRole role;
  std::int64_t outputs, inputs;
};

// Null where the name is none of theirs.
const Place* place_of(std::string_view linear, const std::array<Place, 4>& places) {
  const auto found = std::ranges::find_if(
      places, [&](const Place& place) { return !place.end.empty() && linear.ends_with(place.end); });
  return found == places.end() ? nullptr : &*found;
}

// Empty where the fused kernels have the linear in e4m3.
std::string why_not(const std::string& linear, DType dtype, const Place* place, std::int64_t head_size) {
  const std::string what = concat(linear, " is in ", name_of(dtype));
  if (place == nullptr) return what + ", and none of the block's four";
  if (dtype != DType::e4m3) return concat(what, ", expected ", name_of(DType::e4m3), " or bf16");
  if (choose_block_layout(place->role, place->outputs, place->inputs, head_size, dtype).columns > 0) return "";
  return concat(what, ", which has no kernel for ", place->inputs, " inputs");
}

}  // namespace

BlockFormats block_formats(const BlockShape& shape, const Formats& given) {
  const std::int64_t queries = shape.heads.query * shape.heads.size;
  const std::array<Place, 4> places = {{
      {shape.qkv, BlockRole::qkv, queries + 2 * shape.heads.key_value * shape.heads.size, shape.width},
      {shape.out, BlockRole::add, shape.width, queries},
      {shape.gate_up, BlockRole::gate_up, 2 * shape.inner, shape.width},
      {shape.down, BlockRole::add, shape.width, shape.inner},
  }};
  BlockFormats formats;
  std::int64_t quantised = 0, left = 0;
  for (const auto& [linear, format] : given) {
    const Place* place = place_of(linear, places);
    const std::string refusal = why_not(linear, format.dtype, place, shape.heads.size);
    if (!refusal.empty()) return {.refusal = refusal, .text = {}, .inputs = {}};
    const float scale = place->role == BlockRole::add ? format.scale : format.stream;
    formats.inputs[linear] = scale > 0 ? Encoding{format.dtype, scale} : Encoding{DType::bf16};
    ++(scale > 0 ? quantised : left);
  }
  if (quantised > 0) formats.text += concat(", ", plural(quantised, "linear"), " in ", name_of(DType::e4m3));
  if (left > 0) {
    formats.text += concat(", ", plural(left, "linear"), " in bf16: the calibration has no range of the stream before ",
                           left == 1 ? "its norm" : "their norms", ": run `nervus calibrate` again");
  }
  return formats;
}

}  // namespace nervus::cuda
