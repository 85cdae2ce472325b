#include "preprocess/image.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/message.h"

namespace nervus {
namespace {

constexpr int channels = 3;
constexpr int fraction_bits = 22;  // of a coefficient: 32, less 8 of the pixel, less 2 of headroom

// The source pixels [first, first + weights) of one target pixel; its weights are coefficients[begin ...].
struct Tap {
  int first = 0;
  int count = 0;
  std::size_t begin = 0;
};

struct Filter {
  std::vector<Tap> taps;  // one a target pixel
  std::vector<std::int32_t> coefficients;
};

// Triangle filter from `source` to `target` pixels along one axis. Where it shrinks, the triangle spans as many source
// pixels as fall on two target pixels, which is the antialiasing.
Filter triangle_filter(int source, int target) {
  const double scale = static_cast<double>(source) / target;
  const double support = std::max(scale, 1.0);
  const double inverse_support = 1.0 / support;
  Filter filter;
  filter.taps.reserve(static_cast<std::size_t>(target));
  std::vector<double> weights;
  for (int i = 0; i < target; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), source);
    weights.clear();
    double sum = 0.0;
    for (int x = 0; x < end - first; ++x) {
      const double distance = std::abs((x + first - center + 0.5) * inverse_support);
      weights.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
      sum += weights.back();
    }
    filter.taps.push_back({first, end - first, filter.coefficients.size()});
    for (const double weight : weights) {
      const double normalised = sum != 0.0 ? weight / sum : weight;
      filter.coefficients.push_back(static_cast<std::int32_t>(0.5 + normalised * (1 << fraction_bits)));
    }
  }
  return filter;
}

std::size_t row_bytes(int width) { return static_cast<std::size_t>(width) * channels; }

// Resamples the middle axis of `bytes` [outer, source, inner] to `target`.
std::vector<std::uint8_t> resample(const std::vector<std::uint8_t>& bytes, int source, int target, std::size_t inner) {
  const Filter filter = triangle_filter(source, target);
  const std::size_t slab = static_cast<std::size_t>(source) * inner;
  std::vector<std::uint8_t> result;
  result.reserve(bytes.size() / slab * static_cast<std::size_t>(target) * inner);
  std::vector<std::int32_t> sums(inner);
  for (const std::uint8_t* outer = bytes.data(); outer != bytes.data() + bytes.size(); outer += slab) {
    for (const Tap& tap : filter.taps) {
      std::fill(sums.begin(), sums.end(), 1 << (fraction_bits - 1));
      const std::uint8_t* pixel = outer + static_cast<std::size_t>(tap.first) * inner;
      for (int i = 0; i < tap.count; ++i, pixel += inner) {
        const std::int32_t weight = filter.coefficients[tap.begin + static_cast<std::size_t>(i)];
        for (std::size_t x = 0; x < inner; ++x) sums[x] += weight * pixel[x];
      }
      for (const std::int32_t sum : sums) {
        result.push_back(static_cast<std::uint8_t>(std::clamp(sum >> fraction_bits, 0, 255)));
      }
    }
  }
  return result;
}

}  // namespace

void require_pixels(const Image& image, std::string_view name) {
  const bool whole = image.width > 0 && image.height > 0 &&
                     image.rgb.size() == row_bytes(image.width) * static_cast<std::size_t>(image.height);
  if (whole) return;
  fail(ErrorKind::input, name, ": expected width x height x 3 bytes, found ", image.width, " x ", image.height, " and ",
       image.rgb.size(), " bytes");
}

namespace {

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

Image resize_bilinear(const Image& image, int width, int height) {
  require_pixels(image, "image");
  if (width <= 0 || height <= 0) fail(ErrorKind::input, "image: cannot be resized to ", width, " x ", height);
  Image result{width, height, image.rgb};
  if (image.width != width) result.rgb = resample(result.rgb, image.width, width, channels);
  if (image.height != height) result.rgb = resample(result.rgb, image.height, height, row_bytes(width));
  return result;
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
