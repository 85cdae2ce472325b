#include "client/path.h"

#include <algorithm>
#include <cmath>

namespace nervus::client {

Path Path::still(std::vector<float> pose) {
  Path path;
  path.dimensions_ = pose.size();
  path.values_ = std::move(pose);
  return path;
}

Path::Path(std::vector<float> values, std::size_t dimensions, Instant observed, const PlayerOptions& options)
    : values_(std::move(values)),
      dimensions_(dimensions),
      observed_(observed),
      rate_(options.actions_per_second),
      interpolate_(options.interpolate),
      moves_(true) {
  const auto steps = static_cast<double>(values_.size() / dimensions);
  const Instant oldest = observed + from_seconds(options.max_age_seconds);
  end_ = std::min(observed + from_seconds(steps / rate_), oldest);
  rest_ = end_;
  if (options.watchdog != Watchdog::ramp) return;
  // The last action's own period is a standstill already.
  rest_ = std::min(observed + from_seconds((steps - 1) / rate_), oldest);
  ramp_ = from_seconds(options.ramp_seconds);
}

Instant Path::slows() const { return rest_ - ramp_ / 2; }
Instant Path::stands() const { return rest_ + ramp_ / 2; }

void Path::stop(Instant now) {
  rest_ = std::min(rest_, now + ramp_ / 2);
  end_ = std::min(end_, now);
}

// Slowed down evenly over the ramp, a path covers half of what it would have.
double Path::position(Instant now) const {
  if (ramp_ > Duration::zero() && now > slows()) {
    const double slowed = to_seconds(std::min(now, stands()) - slows()), ramp = to_seconds(ramp_);
    return (to_seconds(slows() - observed_) + slowed - slowed * slowed / (2 * ramp)) * rate_;
  }
  return to_seconds(std::min(now, rest_) - observed_) * rate_;
}

std::vector<float> Path::at(Instant now) const {
  const std::size_t last = values_.size() / dimensions_ - 1;
  const double position = moves_ ? std::clamp(this->position(now), 0.0, static_cast<double>(last)) : 0;
  const double whole = interpolate_ ? std::floor(position) : std::floor(position + 0.5);
  const auto from = static_cast<std::size_t>(whole);
  const std::size_t to = interpolate_ ? std::min(from + 1, last) : from;
  const auto share = static_cast<float>(interpolate_ ? position - whole : 0);
  std::vector<float> pose(dimensions_);
  for (std::size_t i = 0; i < dimensions_; ++i)
    pose[i] = std::lerp(values_[from * dimensions_ + i], values_[to * dimensions_ + i], share);
  return pose;
}

}  // namespace nervus::client
