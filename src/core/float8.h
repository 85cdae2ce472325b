// The 8-bit float format e4m3 (OCP 8-bit floating point specification, E4M3FN): 4 bits of exponent, 3 of fraction, no
// infinity, largest value 448.
#pragma once

#include <bit>
#include <cstdint>

namespace nervus {

struct Float8 {
  std::uint8_t bits = 0;

  static constexpr float largest = 448.0f;
};

inline float to_float(Float8 x) noexcept {
  const std::uint32_t sign = std::uint32_t{x.bits & 0x80u} << 24;
  const std::uint32_t magnitude = x.bits & 0x7fu;
  if (magnitude == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (magnitude < 8) {  // zero and subnormals: multiples of 2^-9
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-9f));
  }
  return std::bit_cast<float>(sign | ((magnitude << 20) + 0x3c000000u));
}

// Round to nearest even; what is larger than 448, infinity too, becomes 448; a NaN stays a NaN.
inline Float8 to_float8(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 24) & 0x80u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t rounded = 0;
  if (magnitude > 0x7f800000u) {
    rounded = 0x7f;
  } else if (magnitude >= 0x43e00000u) {
    rounded = 0x7e;
  } else if (magnitude < 0x3c800000u) {  // subnormal: let float32 addition round at bit 2^-9
    rounded = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14f) - 0x46800000u;
  } else {
    rounded = (magnitude + 0x7ffffu + ((magnitude >> 20) & 1u) - 0x3c000000u) >> 20;
  }
  return {static_cast<std::uint8_t>(sign | rounded)};
}

}  // namespace nervus
