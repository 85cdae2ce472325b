#include "core/dtype.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

using namespace nervus;

TEST_CASE("bfloat16 rounds to nearest even and keeps NaN and infinity") {
  CHECK(to_bfloat16(1.0f).bits == 0x3f80);
  CHECK(to_bfloat16(1.00390625f).bits == 0x3f80);  // halfway, to even
  CHECK(to_bfloat16(1.01171875f).bits == 0x3f82);  // halfway, to even
  CHECK(to_bfloat16(INFINITY).bits == 0x7f80);
  CHECK(std::isnan(to_float(to_bfloat16(NAN))));
  CHECK(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(0x7fffffffu)))));
}

TEST_CASE("float16 survives a round trip of every bit pattern") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Float16 half{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(half);
    if (std::isnan(wide)) {
      CHECK(std::isnan(to_float(to_float16(wide))));
    } else {
      REQUIRE(to_float16(wide).bits == half.bits);
    }
  }
}

TEST_CASE("float16 rounds to nearest even, to subnormals and to infinity") {
  CHECK(to_float16(65519.0f).bits == 0x7bff);
  CHECK(to_float16(65520.0f).bits == 0x7c00);
  CHECK(to_float16(0x1p-25f).bits == 0x0000);
  CHECK(to_float16(0x1.8p-25f).bits == 0x0001);
  CHECK(to_float16(-0x1p-24f).bits == 0x8001);
  CHECK(to_float16(2049.0f).bits == to_float16(2048.0f).bits);
  CHECK(to_float16(2051.0f).bits == to_float16(2052.0f).bits);
}

TEST_CASE("convert reads unaligned sources of every type") {
  std::vector<std::byte> bytes(1 + 3 * 8);
  const double values[3] = {1.5, -2.0, 1e10};
  std::memcpy(bytes.data() + 1, values, sizeof values);
  float out[3];
  convert(DType::f64, bytes.data() + 1, DType::f32, out, 3);
  CHECK(out[0] == 1.5f);
  CHECK(out[2] == 1e10f);
  BFloat16 narrow[3];
  convert(DType::f64, bytes.data() + 1, DType::bf16, narrow, 3);
  CHECK(to_float(narrow[1]) == -2.0f);
  CHECK_THROWS_AS(convert(DType::f32, out, DType::i32, out, 0), Error);
}
