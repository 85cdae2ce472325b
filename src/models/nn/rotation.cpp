#include "models/nn/rotation.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace nervus {
namespace {

constexpr std::int64_t lanes = 16;  // vectors that are transformed together, side by side

// -1 or 1 by index: a bit of splitmix64.
float sign_of(std::int64_t index) {
  std::uint64_t z = (static_cast<std::uint64_t>(index) + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z >> 63) != 0 ? -1.0f : 1.0f;
}

// x [size / lanes, lanes] times Sylvester's matrix.
void butterflies(float* x, std::int64_t size) {
  for (std::int64_t half = lanes; half < size; half *= 2) {
    for (std::int64_t start = 0; start < size; start += 2 * half) {
      float *low = x + start, *high = low + half;
      for (std::int64_t i = 0; i < half; ++i) {
        const float a = low[i], b = high[i];
        low[i] = a + b;
        high[i] = a - b;
      }
    }
  }
}

// Of a loop over floats, compilers make vectors of the loop around it, four times slower.
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

// y += a x, both [lanes]
void add(float* y, float a, const float* x) {
  for (std::int64_t i = 0; i < lanes; i += 4)
    *reinterpret_cast<Four*>(y + i) += a * *reinterpret_cast<const Four*>(x + i);
}

}  // namespace

std::vector<float> paley(std::int64_t order) {
  const std::int64_t p = order - 1;
  bool prime = order % 4 == 0;
  for (std::int64_t divisor = 2; divisor * divisor <= p; ++divisor) prime = prime && p % divisor != 0;
  if (!prime) return {};
  std::vector<float> character(p, -1.0f);
  for (std::int64_t i = 0; i < p; ++i) character[i * i % p] = i == 0 ? 0.0f : 1.0f;
  std::vector<float> matrix(order * order);
  for (std::int64_t i = 0; i < order; ++i) {
    for (std::int64_t j = 0; j < order; ++j) {
      const float skew = i == 0 ? 1.0f : j == 0 ? -1.0f : character[(i - j + p) % p];
      matrix[i * order + j] = i == j ? 1.0f : skew;
    }
  }
  return matrix;
}

Rotation::Rotation(std::int64_t width) : width_(width), power_(width & -width), signs_(width) {
  check(width > 0, "a rotation has a width");
  const std::int64_t order = 4 * (width_ / power_);
  if (order > 4 && power_ >= 4) matrix_ = paley(order);
  if (!matrix_.empty()) order_ = order, power_ /= 4;
  const float scale = 1.0f / std::sqrt(static_cast<float>(order_ * power_));
  for (std::int64_t i = 0; i < width; ++i) signs_[i] = scale * sign_of(i);
}

void Rotation::rotate_outputs(float* weight, std::int64_t rows, std::int64_t columns, Crew& crew) const {
  check(rows == width_, "rotate_outputs: rows are the channels of the stream");
  apply(weight, columns, 1, columns, signs_, crew);
}

void Rotation::rotate_inputs(float* weight, std::int64_t rows, std::int64_t columns, const std::vector<float>& scale,
                             Crew& crew) const {
  check(columns % width_ == 0 && std::ssize(scale) == width_, "rotate_inputs: columns are whole rows of the stream");
  std::vector<float> factor(signs_);
  for (std::int64_t i = 0; i < width_; ++i) factor[i] *= scale[i];
  apply(weight, rows * columns / width_, width_, 1, factor, crew);
}

void Rotated::apply(float* weight, std::int64_t rows, std::int64_t columns, Crew& crew) const {
  if (outputs != nullptr) outputs->rotate_outputs(weight, rows, columns, crew);
  if (inputs != nullptr) inputs->rotate_inputs(weight, rows, columns, scale, crew);
}

void Rotated::apply_to_bias(std::vector<float>& bias, Crew& crew) const {
  if (outputs != nullptr) outputs->rotate_outputs(bias.data(), std::ssize(bias), 1, crew);
}

// To each of `count` vectors, which are `next` apart and their elements `step`: H diag(factor) x.
void Rotation::apply(float* vectors, std::int64_t count, std::int64_t next, std::int64_t step,
                     const std::vector<float>& factor, Crew& crew) const {
  crew.for_each((count + lanes - 1) / lanes, [&](std::int64_t t) {
    std::vector<float> tile(width_ * lanes), copies(order_ * lanes);
    float* first = vectors + t * lanes * next;
    const std::int64_t there = std::min(lanes, count - t * lanes);
    for (std::int64_t i = 0; i < width_; ++i) {
      for (std::int64_t c = 0; c < there; ++c) tile[i * lanes + c] = factor[i] * first[c * next + i * step];
    }
    transform(tile.data(), copies.data());
    for (std::int64_t i = 0; i < width_; ++i) {
      for (std::int64_t c = 0; c < there; ++c) first[c * next + i * step] = tile[i * lanes + c];
    }
  });
}

// tile [width, lanes] to H tile. The other matrix multiplies copies: the rows lie at powers of two, which a cache keeps
// in one place.
void Rotation::transform(float* tile, float* copies) const {
  const std::int64_t part = power_ * lanes;
  for (std::int64_t b = 0; b < width_ / power_; ++b) butterflies(tile + b * part, part);
  for (std::int64_t place = 0; order_ > 1 && place < part; place += lanes) {
    for (std::int64_t j = 0; j < order_; ++j) std::copy_n(tile + j * part + place, lanes, copies + j * lanes);
    for (std::int64_t i = 0; i < order_; ++i) {
      const float* row = matrix_.data() + i * order_;
      float* sum = tile + i * part + place;
      std::fill_n(sum, lanes, 0.0f);
      for (std::int64_t j = 0; j < order_; ++j) add(sum, row[j], copies + j * lanes);
    }
  }
}

}  // namespace nervus
