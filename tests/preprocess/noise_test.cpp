#include "preprocess/noise.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace nervus;

TEST_CASE("philox gives Random123's known answers") {  // tests/kat_vectors of Random123, lines "philox4x32 10"
  using Words = std::array<std::uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  constexpr std::uint32_t ones = 0xffffffffu;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) == Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}) ==
        Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("normals are those of an independent implementation in Python") {
  std::vector<float> values(4);
  fill_normal(42, 0, values.data(), values.size());
  CHECK(values ==
        std::vector<float>{-0.6653748750686646f, 1.0360238552093506f, -1.4338891506195068f, 0.42327818274497986f});
  fill_normal(42, 1, values.data(), 2);
  CHECK(values[0] == -0.4859537184238434f);
  CHECK(values[1] == -1.975559115409851f);
}

TEST_CASE("a normal depends on seed, stream and place alone") {
  std::vector<float> all(101), part(50);
  fill_normal(7, 3, all.data(), all.size());
  fill_normal(7, 3, part.data(), part.size());
  CHECK(std::equal(part.begin(), part.end(), all.begin()));
  fill_normal(8, 3, part.data(), part.size());
  CHECK(part[0] != all[0]);
}

TEST_CASE("normals have the moments of a standard normal") {
  std::vector<float> values(200000);
  fill_normal(1, 0, values.data(), values.size());
  double mean = 0, square = 0, fourth = 0;
  for (const double x : values) {
    REQUIRE(std::isfinite(x));
    mean += x;
    square += x * x;
    fourth += x * x * x * x;
  }
  const double n = static_cast<double>(values.size());
  CHECK(std::abs(mean / n) < 0.01);
  CHECK(std::abs(square / n - 1) < 0.015);
  CHECK(std::abs(fourth / n - 3) < 0.1);
}

TEST_CASE("synthetic weights are exact, seamless and scaled") {
  float value = 0;
  fill_synthetic(7, 3, 0, 0.02f, &value, 1);  // the values of an independent implementation in Python
  CHECK(value == 0x1.ae2c12p-9f);
  fill_synthetic(7, 3, 5, 0.02f, &value, 1);
  CHECK(value == -0x1.3bc52ap-6f);
  fill_synthetic(7, 3, 10000000000u, 0.02f, &value, 1);
  CHECK(value == 0x1.4e98fap-8f);

  std::vector<float> all(100000), tail(70000);
  fill_synthetic(1, 9, 0, 0.5f, all.data(), all.size());
  fill_synthetic(1, 9, 30000, 0.5f, tail.data(), tail.size());
  CHECK(std::equal(tail.begin(), tail.end(), all.begin() + 30000));
  double mean = 0, square = 0;
  for (const double x : all) {
    mean += x;
    square += x * x;
    REQUIRE(std::abs(x) < 0.5 * 3.47);
  }
  CHECK(std::abs(mean / 1e5) < 0.005);
  CHECK(std::abs(std::sqrt(square / 1e5) - 0.5) < 0.005);
}
