// Pillow's bilinear resize. Rows are resampled sixteen at a time, with the sixteen values of a column side by side, so
// that both passes are sums of whole vectors: plain loops, compiled once more for AVX2.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/message.h"
#include "preprocess/image.h"

namespace nervus {
namespace {

constexpr int channels = 3;
constexpr int fraction_bits = 22;  // of a coefficient: 32, less 8 of the pixel, less 2 of headroom
constexpr std::int32_t half = 1 << (fraction_bits - 1);
constexpr std::size_t lanes = 16;  // rows of a block
constexpr std::size_t column = channels * lanes;

// The source pixels [first, first + count) of one target pixel; its weights are coefficients[begin ...].
struct Tap {
  std::size_t first = 0;
  std::size_t count = 0;
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
    filter.taps.push_back({static_cast<std::size_t>(first), weights.size(), filter.coefficients.size()});
    for (const double weight : weights) {
      const double normalised = sum != 0.0 ? weight / sum : weight;
      filter.coefficients.push_back(static_cast<std::int32_t>(0.5 + normalised * (1 << fraction_bits)));
    }
  }
  return filter;
}

// y = a0 b0 a1 b1 ...
[[gnu::always_inline]] inline void interleave(const std::uint8_t* a, const std::uint8_t* b, std::size_t count,
                                              std::uint8_t* y) {
  for (std::size_t i = 0; i < count; ++i) {
    y[2 * i] = a[i];
    y[2 * i + 1] = b[i];
  }
}

[[gnu::always_inline]] inline void part(const std::uint8_t* x, std::size_t count, std::uint8_t* a, std::uint8_t* b) {
  for (std::size_t i = 0; i < count; ++i) {
    a[i] = x[2 * i];
    b[i] = x[2 * i + 1];
  }
}

// Target rows [begin, end) of `width` values to y, from x, which begins with source row `first`; `sums` of a width.
[[gnu::always_inline]] inline void resample(const Filter& filter, std::size_t begin, std::size_t end,
                                            const std::uint8_t* x, std::size_t first, std::size_t width,
                                            std::int32_t* sums, std::uint8_t* y) {
  for (std::size_t i = begin; i < end; ++i) {
    const Tap& tap = filter.taps[i];
    std::fill_n(sums, width, half);
    const std::uint8_t* row = x + (tap.first - first) * width;
    for (std::size_t k = 0; k < tap.count; ++k, row += width) {
      const std::int32_t weight = filter.coefficients[tap.begin + k];
      for (std::size_t i = 0; i < width; ++i) sums[i] += weight * row[i];
    }
    for (std::size_t i = 0; i < width; ++i) {
      y[i] = static_cast<std::uint8_t>(std::clamp(sums[i] >> fraction_bits, 0, 255));
    }
    y += width;
  }
}

// Sixteen rows with their values of a column side by side, or such columns as rows again, in four turns: each turn
// interleaves row r with row r + half of them.
class Block {
 public:
  explicit Block(std::size_t width) : width_(width), memory_{Bytes(width * lanes), Bytes(width * lanes)} {}

  std::uint8_t* data() { return memory_[0].data(); }

  [[gnu::always_inline]] void from_rows(const std::array<const std::uint8_t*, lanes>& rows) {
    for (std::size_t r = 0; r < lanes / 2; ++r) {
      interleave(rows[r], rows[r + lanes / 2], width_, memory_[1].data() + 2 * r * width_);
    }
    for (std::size_t pairs = lanes / 4; pairs > 0; pairs /= 2) {
      const std::size_t size = width_ * lanes / (2 * pairs);
      for (std::size_t r = 0; r < pairs; ++r) {
        interleave(memory_[1].data() + r * size, memory_[1].data() + (r + pairs) * size, size,
                   memory_[0].data() + 2 * r * size);
      }
      memory_[0].swap(memory_[1]);
    }
    memory_[0].swap(memory_[1]);
  }
  [[gnu::always_inline]] void to_rows() {
    for (std::size_t pairs = 1; pairs < lanes; pairs *= 2) {
      const std::size_t size = width_ * lanes / (2 * pairs);
      for (std::size_t r = 0; r < pairs; ++r) {
        part(memory_[0].data() + 2 * r * size, size, memory_[1].data() + r * size,
             memory_[1].data() + (r + pairs) * size);
      }
      memory_[0].swap(memory_[1]);
    }
  }

 private:
  using Bytes = std::vector<std::uint8_t>;
  std::size_t width_;
  std::array<Bytes, 2> memory_;
};

// Rows [begin, end) of the image at another width.
[[gnu::always_inline]] inline std::vector<std::uint8_t> resize_width(const Image& image, int width, std::size_t begin,
                                                                     std::size_t end) {
  const Filter filter = triangle_filter(image.width, width);
  const std::size_t from = static_cast<std::size_t>(image.width) * channels;
  const std::size_t to = static_cast<std::size_t>(width) * channels;
  std::vector<std::uint8_t> result(to * (end - begin));
  Block source(from), target(to);
  for (std::size_t first = begin; first < end; first += lanes) {
    std::array<const std::uint8_t*, lanes> rows;
    for (std::size_t r = 0; r < lanes; ++r) rows[r] = image.rgb.data() + std::min(first + r, end - 1) * from;
    source.from_rows(rows);
    std::int32_t sums[column];
    resample(filter, 0, filter.taps.size(), source.data(), 0, column, sums, target.data());
    target.to_rows();
    std::copy_n(target.data(), std::min(lanes, end - first) * to, result.data() + (first - begin) * to);
  }
  return result;
}

[[gnu::always_inline]] inline void resize(const Image& image, int width, int height, std::size_t begin, std::size_t end,
                                          std::uint8_t* out) {
  const std::size_t row = static_cast<std::size_t>(width) * channels;
  const bool same_height = image.height == height;
  const Filter filter = same_height ? Filter{} : triangle_filter(image.height, height);
  // The source's rows that these come from.
  const std::size_t first = same_height ? begin : filter.taps[begin].first;
  const std::size_t last = same_height ? end : filter.taps[end - 1].first + filter.taps[end - 1].count;
  std::vector<std::uint8_t> narrowed;
  const std::uint8_t* rows = image.rgb.data() + first * row;
  if (image.width != width) {
    narrowed = resize_width(image, width, first, last);
    rows = narrowed.data();
  }
  if (same_height) {
    std::copy_n(rows, (end - begin) * row, out);
    return;
  }
  std::vector<std::int32_t> sums(row);
  resample(filter, begin, end, rows, first, row, sums.data(), out);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void resize_avx2(const Image& image, int width, int height, std::size_t begin, std::size_t end,
                                         std::uint8_t* out) {
  resize(image, width, height, begin, end, out);
}
#endif

void check_sizes(const Image& image, int width, int height) {
  require_pixels(image, "image");
  if (width <= 0 || height <= 0) fail(ErrorKind::input, "image: cannot be resized to ", width, " x ", height);
}

}  // namespace

void resize_rows(const Image& image, int width, int height, int begin, int end, std::uint8_t* out) {
  check_sizes(image, width, height);
  check(0 <= begin && begin <= end && end <= height, "rows of the resized image");
  if (begin == end) return;
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx2) return resize_avx2(image, width, height, begin, end, out);
#endif
  resize(image, width, height, begin, end, out);
}

Image resize_bilinear(const Image& image, int width, int height) {
  check_sizes(image, width, height);
  Image result{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * channels)};
  resize_rows(image, width, height, 0, height, result.rgb.data());
  return result;
}

}  // namespace nervus
