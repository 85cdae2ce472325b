// How images become the rows that a vision tower reads, as Qwen2-VL's image processor makes them.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace nervus {

// How an image is cut: `patch` pixels a side, `merge` x `merge` patches become one token, `temporal` frames a patch.
struct PatchGeometry {
  int patch = 14;
  int merge = 2;
  int temporal = 2;

  constexpr int area() const { return patch * patch; }
  constexpr int values() const { return 3 * temporal * area(); }  // of a patch (1176)
  // Pixels of a side of a square image of so many patches.
  int side(std::int64_t patches) const {
    return static_cast<int>(std::lround(std::sqrt(static_cast<double>(patches)))) * patch;
  }
  // The top left pixel of patch `index` of an image of `width` pixels: patches come in blocks of merge x merge.
  struct Corner {
    int row, column;
  };
  constexpr Corner corner(int index, int width) const {
    const int across = width / (patch * merge), block = index / (merge * merge), within = index % (merge * merge);
    return {(block / across * merge + within / merge) * patch, (block % across * merge + within % merge) * patch};
  }
};

// What the 256 levels of a pixel become, [3, 256]: (level / 255 - mean) / std of each channel.
std::vector<float> pixel_levels();

// Writes patch `index` of RGB pixels, [3, temporal, patch, patch]: a frame, as often as a patch has frames. `levels`
// has what pixel_levels() has, in T.
template <typename T>
void cut_patch(const PatchGeometry& geometry, const std::uint8_t* rgb, int width, int index, const T* levels, T* out) {
  const auto [row, column] = geometry.corner(index, width);
  for (int channel = 0; channel < 3; ++channel, levels += 256) {
    const T* frame = out;
    for (int y = row; y < row + geometry.patch; ++y) {
      const std::uint8_t* pixel = rgb + 3 * (static_cast<std::int64_t>(y) * width + column) + channel;
      for (int x = 0; x < geometry.patch; ++x) *out++ = levels[pixel[3 * x]];
    }
    for (int i = 0; i < (geometry.temporal - 1) * geometry.area(); ++i) *out++ = frame[i];
  }
}

}  // namespace nervus
