#include "models/lingbot/schedule.h"

#include <cmath>
#include <numbers>

#include "core/float16.h"
#include "core/message.h"

namespace nervus::lingbot {

std::vector<Step> make_schedule(int steps, TimeGrid grid) {
  std::vector<Step> schedule;
  if (grid == TimeGrid::exact) {
    for (int i = 0; i < steps; ++i) {
      schedule.push_back({static_cast<float>(1.0 - static_cast<double>(i) / steps), 1.0f / static_cast<float>(steps)});
    }
    return schedule;
  }
  if (steps > most_bf16_steps) {  // then 1 + dt is 1 again
    fail(ErrorKind::usage, "steps: expected at most ", most_bf16_steps, " for the time grid bf16-accumulated, since a ",
         "bfloat16 cannot tell shorter steps from none, found ", steps, ": take fewer, or the exact grid");
  }
  const float dt = to_float(to_bfloat16(static_cast<float>(-1.0 / steps)));
  const float last = to_float(to_bfloat16(-dt / 2));
  for (float t = 1; t >= last; t = to_float(to_bfloat16(t + dt))) schedule.push_back({t, -dt});
  return schedule;
}

std::vector<float> time_embedding(const std::vector<float>& times, std::int64_t width) {
  const std::int64_t half = width / 2;
  std::vector<float> embedding(times.size() * width);
  for (std::int64_t i = 0; i < half; ++i) {
    const float fraction = half > 1 ? static_cast<float>(static_cast<double>(i) / static_cast<double>(half - 1)) : 0.0f;
    const float period = 4e-3f * std::pow(1000.0f, fraction);
    const float frequency = static_cast<float>(2 * std::numbers::pi) * (1.0f / period);
    for (std::size_t k = 0; k < times.size(); ++k) {
      const float angle = times[k] * frequency;
      embedding[k * width + i] = std::sin(angle);
      embedding[k * width + half + i] = std::cos(angle);
    }
  }
  return embedding;
}

}  // namespace nervus::lingbot
