// The times of the Euler steps, and the embedding of a time.
#pragma once

#include <cstdint>
#include <vector>

#include "nervus/options.h"

namespace nervus::lingbot {

// One Euler step: x <- x - dt v(x, t).
struct Step {
  float t = 1;
  float dt = 0;
};

constexpr int most_bf16_steps = 510;

// From t = 1 (noise) to t = 0 (actions) in `steps` steps; the bf16 grid may take one more (public function:
// sample_actions, whose time is a tensor of the model's dtype). Throws Error(usage) for more than most_bf16_steps on
// it.
std::vector<Step> make_schedule(int steps, TimeGrid grid);

// [times, width]: sine, then cosine, of each time at width / 2 periods from 0.004 to 4, geometrically spaced (public
// function: create_sinusoidal_pos_embedding).
std::vector<float> time_embedding(const std::vector<float>& times, std::int64_t width);

}  // namespace nervus::lingbot
