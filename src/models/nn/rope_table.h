// Tables of rotary embeddings.
#pragma once

#include <cmath>
#include <vector>

#include "backends/device.h"

namespace nervus {

// 10000^(-2 i / size) for i in [0, size / 2): the frequencies of one axis.
inline std::vector<float> rope_frequencies(std::int64_t size) {
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < size / 2; ++i) {
    frequencies.push_back(1.0f / std::pow(10000.0f, static_cast<float>(2 * i) / static_cast<float>(size)));
  }
  return frequencies;
}

// Cosine and sine of angles [positions, columns]; the positions of a call are filled in later.
inline Rope make_rope(Device& device, const std::vector<float>& angles, std::int64_t columns) {
  std::vector<float> cosine, sine;
  for (const float angle : angles) {
    cosine.push_back(std::cos(angle));
    sine.push_back(std::sin(angle));
  }
  const auto positions = static_cast<std::int64_t>(angles.size()) / columns;
  return {device.constant(positions, columns, cosine), device.constant(positions, columns, sine), {}};
}

}  // namespace nervus
