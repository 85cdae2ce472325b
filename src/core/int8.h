// Symmetric 8-bit integers: a value is a scale times -127 to 127; a row has the scale that takes its largest |x| to
// 127.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace nervus {

constexpr float largest_int8 = 127.0f;

inline float int8_scale(float largest) noexcept { return largest > 0.0f ? largest / largest_int8 : 1.0f; }

// x times 1 / scale, to nearest even and saturated: devices invert a row's scale once, and find the same bits.
inline std::int8_t to_int8(float x, float scale) noexcept {
  return static_cast<std::int8_t>(std::clamp(std::nearbyint(x * (1.0f / scale)), -largest_int8, largest_int8));
}

}  // namespace nervus
