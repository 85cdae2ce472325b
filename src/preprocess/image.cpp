#include "preprocess/image.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/message.h"

namespace nervus {
namespace {

constexpr int channels = 3;

std::size_t row_bytes(int width) { return static_cast<std::size_t>(width) * channels; }

// A pixel's 256 possible values in each channel. The processor fuses its two steps into (pixel - 255 mean) /
// (255 std), all in float32 (Qwen2VLImageProcessorFast, rescale_and_normalize).
std::array<std::array<float, 256>, channels> normalised_levels() {
  constexpr std::array<float, channels> mean = {0.48145466f, 0.4578275f, 0.40821073f};
  constexpr std::array<float, channels> deviation = {0.26862954f, 0.26130258f, 0.27577711f};
  std::array<std::array<float, 256>, channels> levels;
  for (int c = 0; c < channels; ++c) {
    const float offset = mean[c] * 255.0f;
    const float scale = deviation[c] * 255.0f;
    for (int level = 0; level < 256; ++level) levels[c][level] = (static_cast<float>(level) - offset) / scale;
  }
  return levels;
}

}  // namespace

void require_pixels(const Image& image, std::string_view name) {
  const bool whole = image.width > 0 && image.height > 0 &&
                     image.rgb.size() == row_bytes(image.width) * static_cast<std::size_t>(image.height);
  if (whole) return;
  fail(ErrorKind::input, name, ": expected width x height x 3 bytes, found ", image.width, " x ", image.height, " and ",
       image.rgb.size(), " bytes");
}

int patch_values(const PatchGeometry& geometry) {
  return channels * geometry.temporal * geometry.patch * geometry.patch;
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
  patch_count(image.width, image.height, geometry);
  const auto levels = normalised_levels();
  const int side = geometry.patch;
  const int merge = geometry.merge;
  const std::size_t row = row_bytes(image.width);
  const std::size_t area = static_cast<std::size_t>(side) * side;

  const auto write_patch = [&](int patch_row, int patch_column) {
    const std::uint8_t* corner =
        image.rgb.data() + static_cast<std::size_t>(patch_row) * side * row + row_bytes(patch_column * side);
    for (int c = 0; c < channels; ++c) {
      float* frame = out;
      for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side; ++x) *out++ = levels[c][corner[y * row + row_bytes(x) + c]];
      }
      for (int t = 1; t < geometry.temporal; ++t) out = std::copy_n(frame, area, out);
    }
  };
  for (int block_row = 0; block_row < image.height / side; block_row += merge) {
    for (int block_column = 0; block_column < image.width / side; block_column += merge) {
      for (int i = 0; i < merge; ++i) {
        for (int j = 0; j < merge; ++j) write_patch(block_row + i, block_column + j);
      }
    }
  }
}

}  // namespace nervus
