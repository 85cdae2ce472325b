// bench_images WIDTH HEIGHT SIDE CALLS: milliseconds of each call of resize_bilinear from WIDTH x HEIGHT to SIDE x
// SIDE, then of extract_patches of the result, two columns, a line a call. benchmarks/image_peer.py runs it beside
// Pillow.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "preprocess/image.h"

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) {
    std::fprintf(stderr, "usage: bench_images WIDTH HEIGHT SIDE CALLS\n");
    return 2;
  }
  const int width = std::atoi(arguments[1]), height = std::atoi(arguments[2]), side = std::atoi(arguments[3]);
  nervus::Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
  std::uint32_t state = 1;
  for (std::uint8_t& value : image.rgb)
    value = static_cast<std::uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  const nervus::PatchGeometry geometry;
  std::vector<float> patches(static_cast<std::size_t>(nervus::patch_count(side, side, geometry)) *
                             static_cast<std::size_t>(geometry.values()));
  for (int call = std::atoi(arguments[4]); call > 0; --call) {
    const Clock::time_point start = Clock::now();
    const nervus::Image resized = nervus::resize_bilinear(image, side, side);
    const Clock::time_point middle = Clock::now();
    nervus::extract_patches(resized, geometry, patches.data());
    std::printf("%.4f %.4f\n", milliseconds(middle - start), milliseconds(Clock::now() - middle));
  }
  return 0;
}
