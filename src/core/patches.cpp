#include "core/patches.h"

#include <array>

namespace nervus {

// The processor fuses its two steps into (pixel - 255 mean) / (255 std), all in float32 (Qwen2VLImageProcessorFast,
// rescale_and_normalize).
std::vector<float> pixel_levels() {
  constexpr std::array<float, 3> mean = {0.48145466f, 0.4578275f, 0.40821073f};
  constexpr std::array<float, 3> deviation = {0.26862954f, 0.26130258f, 0.27577711f};
  std::vector<float> levels;
  for (std::size_t c = 0; c < 3; ++c) {
    const float offset = mean[c] * 255.0f, scale = deviation[c] * 255.0f;
    for (int level = 0; level < 256; ++level) levels.push_back((static_cast<float>(level) - offset) / scale);
  }
  return levels;
}

}  // namespace nervus
