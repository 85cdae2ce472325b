#include "preprocess/image.h"

#include <vector>

#include "core/message.h"

namespace nervus {
namespace {

constexpr int channels = 3;

std::size_t row_bytes(int width) { return static_cast<std::size_t>(width) * channels; }

}  // namespace

void require_pixels(const Image& image, std::string_view name) {
  const bool whole = image.width > 0 && image.height > 0 &&
                     image.rgb.size() == row_bytes(image.width) * static_cast<std::size_t>(image.height);
  if (whole) return;
  fail(ErrorKind::input, name, ": expected width x height x 3 bytes, found ", image.width, " x ", image.height, " and ",
       image.rgb.size(), " bytes");
}

int patch_count(int width, int height, const PatchGeometry& geometry) {
  const int unit = geometry.patch * geometry.merge;
  if (width <= 0 || height <= 0 || width % unit != 0 || height % unit != 0) {
    fail(ErrorKind::input, "image: expected sides that are multiples of ", unit, ", found ", width, " x ", height,
         "; resize it first");
  }
  return (width / geometry.patch) * (height / geometry.patch);
}

void extract_patches(const Image& image, const PatchGeometry& geometry, float* out) {
  require_pixels(image, "image");
  const int count = patch_count(image.width, image.height, geometry);
  const std::vector<float> levels = pixel_levels();
  for (int i = 0; i < count; ++i, out += geometry.values())
    cut_patch(geometry, image.rgb.data(), image.width, i, levels.data(), out);
}

}  // namespace nervus
