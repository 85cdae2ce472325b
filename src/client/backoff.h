// How long to wait between attempts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

namespace nervus::client {

// Doubles with each attempt up to a bound; half of it by chance, so that many robots do not come back as one.
class Backoff {
 public:
  Backoff(double first_seconds, double most_seconds, std::uint32_t seed)
      : first_(first_seconds), most_(most_seconds), next_(first_seconds), random_(seed) {}

  double next_seconds() {
    const double bound = std::min(next_, most_);
    next_ = std::min(2 * next_, most_);
    return bound * std::uniform_real_distribution<double>(0.5, 1)(random_);
  }
  // An attempt succeeded.
  void reset() { next_ = first_; }

 private:
  double first_, most_, next_;
  std::minstd_rand random_;
};

}  // namespace nervus::client
