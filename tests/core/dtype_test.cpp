#include "core/dtype.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
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

TEST_CASE("many values become f16 as one does, whatever the processor") {
  std::vector<float> values;
  for (std::uint32_t i = 0; i < 70000; ++i)
    values.push_back(std::bit_cast<float>(i * 61357u % 0x7f800000u | i % 2 << 31));
  std::vector<std::byte> bytes(2 * values.size() + 1);
  convert(DType::f32, values.data(), DType::f16, bytes.data() + 1, std::ssize(values));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Float16 found;
    std::memcpy(&found, bytes.data() + 1 + 2 * i, 2);
    if (found.bits != to_float16(values[i]).bits) FAIL("at ", i, ": ", values[i]);
  }
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

namespace {

// The value of an e4m3 code by its definition.
double e4m3_value(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return (code & 0x7f) == 0x7f ? NAN : code & 0x80 ? -magnitude : magnitude;
}

// The code nearest to x by search; of two equally near, the one whose last bit is 0.
int nearest_e4m3(double x) {
  int best = 0;
  for (int code = 0; code < 0x7f; ++code) {
    const double distance = std::abs(e4m3_value(code) - std::abs(x)), least = std::abs(e4m3_value(best) - std::abs(x));
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
  }
  return std::signbit(x) ? best | 0x80 : best;
}

}  // namespace

TEST_CASE("e4m3: every code is its value and survives a round trip") {
  for (int code = 0; code < 256; ++code) {
    const float wide = to_float(Float8{static_cast<std::uint8_t>(code)});
    if ((code & 0x7f) == 0x7f) CHECK(std::isnan(wide));
    else CHECK(static_cast<double>(wide) == e4m3_value(code));
    CHECK(std::signbit(wide) == (code >= 0x80));
    CHECK(to_float8(wide).bits == code);
  }
  CHECK(Float8::largest == to_float(Float8{0x7e}));
}

TEST_CASE("e4m3 rounds to the nearest code, to even between two, and saturates") {
  for (int code = 0; code < 0x7e; ++code) {
    const auto value = static_cast<float>(e4m3_value(code)), next = static_cast<float>(e4m3_value(code + 1));
    const float middle = (value + next) / 2;
    for (float x : {std::nextafter(value, next), std::nextafter(middle, 0.0f), middle, std::nextafter(middle, 1e3f),
                    std::nextafter(next, 0.0f)}) {
      CHECK(to_float8(x).bits == nearest_e4m3(x));
      CHECK(to_float8(-x).bits == nearest_e4m3(-x));
    }
  }
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 99991) {  // over all magnitudes
    const auto x = std::bit_cast<float>(bits);
    REQUIRE(to_float8(x).bits == nearest_e4m3(x));
  }
  CHECK(to_float8(449.0f).bits == 0x7e);
  CHECK(to_float8(-INFINITY).bits == 0xfe);
  CHECK(to_float8(-NAN).bits == 0xff);
  float wide[3] = {1.0f, -0.3f, 1e9f}, back[3];
  std::uint8_t codes[3];
  convert(DType::f32, wide, DType::e4m3, codes, 3);
  convert(DType::e4m3, codes, DType::f32, back, 3);
  CHECK(back[0] == 1.0f);
  CHECK(back[1] == -0.3125f);
  CHECK(back[2] == 448.0f);
}

TEST_CASE("convert_finite converts as convert does and finds the first value that is not finite") {
  const std::int64_t count = (1 << 18) + 77;  // on several threads, with a rest
  std::vector<float> values(count);
  for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 1000 - 500) * 0.37f;
  values[5] = std::numeric_limits<float>::max();  // finite here, whatever it becomes
  for (const DType from : {DType::f32, DType::bf16, DType::f16}) {
    std::vector<float> small = values;
    if (from != DType::f32) small[5] = 1;
    const Array source = Array::from(small, {count}).converted(from);
    for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
      Array target(to, {count});
      CHECK(convert_finite(from, source.bytes.data(), to, target.bytes.data(), count) == -1);
      CHECK(target.bytes == source.converted(to).bytes);
    }
  }
  for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
    Array target(to, {count});
    std::vector<float> wrong = values;
    for (const std::int64_t place : {count - 1, std::int64_t{70000}, std::int64_t{0}}) {
      wrong[place] = place == 70000 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
      CHECK(convert_finite(DType::f32, wrong.data(), to, target.bytes.data(), count) == place);
    }
  }
}
