#include "models/nn/rotation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "core/int8.h"
#include "nervus/error.h"

using namespace nervus;

namespace {

Crew alone;

std::vector<float> normal_values(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// Q [width, width], row-major.
std::vector<float> matrix_of(const Rotation& rotation, std::int64_t width) {
  std::vector<float> q(static_cast<std::size_t>(width * width));
  for (std::int64_t i = 0; i < width; ++i) q[static_cast<std::size_t>(i * width + i)] = 1;
  rotation.rotate_outputs(q.data(), width, width, alone);
  return q;
}

// a [n, k] b^T [m, k], in double.
std::vector<double> product(const std::vector<float>& a, const std::vector<float>& b, std::int64_t k) {
  const std::int64_t n = std::ssize(a) / k, m = std::ssize(b) / k;
  std::vector<double> c(static_cast<std::size_t>(n * m));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < m; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l)
        sum += static_cast<double>(a[static_cast<std::size_t>(i * k + l)]) * b[static_cast<std::size_t>(j * k + l)];
      c[static_cast<std::size_t>(i * m + j)] = sum;
    }
  }
  return c;
}

// The columns of x in int8 and back, a scale for each row.
std::vector<float> through_int8(std::vector<float> x, std::int64_t columns) {
  for (auto row = x.begin(); row != x.end(); row += columns) {
    float largest = 0;
    for (auto v = row; v != row + columns; ++v) largest = std::max(largest, std::abs(*v));
    const float scale = int8_scale(largest);
    for (auto v = row; v != row + columns; ++v) *v = scale * static_cast<float>(to_int8(*v, scale));
  }
  return x;
}

double relative_error(const std::vector<double>& found, const std::vector<double>& exact) {
  double errors = 0, squares = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    errors += (found[i] - exact[i]) * (found[i] - exact[i]);
    squares += exact[i] * exact[i];
  }
  return std::sqrt(errors / squares);
}

}  // namespace

TEST_CASE("a rotation is orthogonal and takes every channel to all, or to all of its block") {
  struct Width {
    std::int64_t width, spread;
  };
  for (const auto [width, spread] : {Width{1, 1},
                                     {2, 2},
                                     {7, 1},
                                     {12, 12},
                                     {14, 2},
                                     {20, 20},
                                     {28, 4},
                                     {64, 64},
                                     {96, 96},
                                     {160, 160},
                                     {224, 32},
                                     {1280, 1280},
                                     {2048, 2048}}) {
    CAPTURE(width);
    const std::vector<float> q = matrix_of(Rotation(width), width);
    const float entry = 1.0f / std::sqrt(static_cast<float>(spread));
    for (std::int64_t row = 0; row < width; row += std::max<std::int64_t>(1, width / 20)) {
      const auto begin = q.begin() + row * width;
      CHECK(std::count_if(begin, begin + width, [](float x) { return x != 0; }) == spread);
      CHECK(
          std::all_of(begin, begin + width, [&](float x) { return x == 0 || std::abs(std::abs(x) - entry) < 1e-6f; }));
      const std::vector<double> dots = product({begin, begin + width}, q, width);
      for (std::int64_t other = 0; other < width; ++other)
        CHECK(std::abs(dots[static_cast<std::size_t>(other)] - (other == row)) < 2e-6);
    }
    CHECK(matrix_of(Rotation(width), width) == q);
  }
}

TEST_CASE("Paley's matrices are Hadamard matrices, where 4 n - 1 is a prime") {
  for (const std::int64_t order : {4, 8, 12, 20, 24, 44}) {
    CAPTURE(order);
    const std::vector<float> h = paley(order);
    REQUIRE(std::ssize(h) == order * order);
    CHECK(std::all_of(h.begin(), h.end(), [](float x) { return x == 1 || x == -1; }));
    const std::vector<double> squared = product(h, h, order);
    for (std::int64_t i = 0; i < order * order; ++i)
      CHECK(squared[static_cast<std::size_t>(i)] == (i / order == i % order ? static_cast<double>(order) : 0));
  }
  for (const std::int64_t order : {6, 16, 28, 36, 40}) CHECK(paley(order).empty());
}

TEST_CASE("what writes and what reads a rotated stream are products with Q, whatever the threads") {
  constexpr std::int64_t width = 80, others = 37;
  const Rotation rotation(width);
  const std::vector<float> q = matrix_of(rotation, width), scale = normal_values(width, 1);
  const std::vector<float> written = normal_values(width * others, 2), read = normal_values(others * 2 * width, 3);
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    Crew crew(threads);
    std::vector<float> w = written, across(written.size());
    rotation.rotate_outputs(w.data(), width, others, crew);
    for (std::int64_t i = 0; i < width * others; ++i)
      across[static_cast<std::size_t>(i % others * width + i / others)] = written[static_cast<std::size_t>(i)];
    const std::vector<double> expected = product(q, across, width);
    for (std::size_t i = 0; i < w.size(); ++i) CHECK(std::abs(w[i] - expected[i]) < 2e-5);

    w = read;  // two rows of the stream side by side
    rotation.rotate_inputs(w.data(), others, 2 * width, scale, crew);
    std::vector<float> scaled = read;
    for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] *= scale[i % width];
    const std::vector<double> turned = product(scaled, q, width);
    for (std::size_t i = 0; i < w.size(); ++i) CHECK(std::abs(w[i] - turned[i]) < 5e-5);
  }
  std::vector<float> w = read;
  CHECK_THROWS_AS(rotation.rotate_outputs(w.data(), others, width, alone), Error);
  CHECK_THROWS_AS(rotation.rotate_inputs(w.data(), width, others, scale, alone), Error);
}

TEST_CASE("neither outlier channels nor a constant row end in one channel, and lengths stay") {
  constexpr std::int64_t width = 1280;
  const Rotation rotation(width);
  std::vector<float> rows = normal_values(3 * width, 4);
  for (const std::int64_t channel : {5, 77, 1024}) rows[static_cast<std::size_t>(channel)] *= 50;
  std::fill_n(rows.begin() + width, width, 3.0f);
  std::fill_n(rows.begin() + 2 * width, width, 0.0f);
  rows[2 * width + 9] = 1;
  std::vector<float> turned = rows;
  rotation.rotate_inputs(turned.data(), 3, width, std::vector<float>(width, 1), alone);
  const double largest[] = {6, 6, 1.001};  // times the root of the mean square
  for (std::int64_t r = 0; r < 3; ++r) {
    double before = 0, after = 0, most = 0;
    for (auto i = static_cast<std::size_t>(r * width); i < static_cast<std::size_t>((r + 1) * width); ++i) {
      before += static_cast<double>(rows[i]) * rows[i];
      after += static_cast<double>(turned[i]) * turned[i];
      most = std::max(most, std::abs(static_cast<double>(turned[i])));
    }
    CHECK(after == doctest::Approx(before).epsilon(1e-5));
    CHECK(most < largest[r] * std::sqrt(after / width));
    CHECK(most <= rotation.largest_input() * std::sqrt(after / width));
  }
}

TEST_CASE("int8 loses several times less of a product whose inputs have outlier channels") {
  constexpr std::int64_t width = 1280, rows = 24, outputs = 40;
  const Rotation rotation(width);
  std::vector<float> x = normal_values(rows * width, 5), w = normal_values(outputs * width, 6);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (const std::int64_t channel : {11, 300, 301, 999}) x[static_cast<std::size_t>(r * width + channel)] *= 40;
  }
  const std::vector<double> exact = product(x, w, width);
  const double plain = relative_error(product(through_int8(x, width), through_int8(w, width), width), exact);
  const std::vector<float> ones(width, 1);
  rotation.rotate_inputs(x.data(), rows, width, ones, alone);
  rotation.rotate_inputs(w.data(), outputs, width, ones, alone);
  CHECK(relative_error(product(x, w, width), exact) < 1e-5);
  const double turned = relative_error(product(through_int8(x, width), through_int8(w, width), width), exact);
  MESSAGE("relative error of int8: ", plain, ", rotated ", turned);
  CHECK(plain > 4 * turned);
  CHECK(turned < 0.02);
}
