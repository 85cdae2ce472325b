// What a chunk says over time: a path through its actions, which ends, or is ended, in a standstill.
#pragma once

#include <vector>

#include "nervus/player.h"

namespace nervus::client {

using Duration = Instant::duration;

inline Duration from_seconds(double seconds) {
  return std::chrono::round<Duration>(std::chrono::duration<double>(seconds));
}
inline double to_seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

class Path {
 public:
  // A pose that does not move.
  static Path still(std::vector<float> pose);
  // `values` are rows of `dimensions`, at least one.
  Path(std::vector<float> values, std::size_t dimensions, Instant observed, const PlayerOptions& options);

  // Until here its actions are valid.
  Instant end() const { return end_; }
  // Where it begins to be slowed down, and where it stands; with other watchdogs both are end().
  Instant slows() const;
  Instant stands() const;
  // Slows it down from now on.
  void stop(Instant now);

  bool moves() const { return moves_; }
  // The pose of that moment; past the end the last one.
  std::vector<float> at(Instant now) const;

 private:
  Path() = default;
  // In actions behind the observation.
  double position(Instant now) const;

  std::vector<float> values_;
  std::size_t dimensions_ = 0;
  Instant observed_, end_;
  Instant rest_;        // of the path's own time: what it does not go beyond
  Duration ramp_ = {};  // 0: it is not slowed down
  double rate_ = 0;     // actions a second
  bool interpolate_ = true;
  bool moves_ = false;
};

}  // namespace nervus::client
