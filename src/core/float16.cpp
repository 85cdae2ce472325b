#include "core/float16.h"

namespace nervus {

Float16 to_float16(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // rounds past 65504
  if (magnitude < 0x38800000u) {  // subnormal in half: let float32 addition round at bit 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    const std::uint32_t fraction = std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u;
    return {static_cast<std::uint16_t>(sign | fraction)};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace nervus
