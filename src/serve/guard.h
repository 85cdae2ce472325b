// The guard: what stands between a model's actions and a robot. It refuses observations and actions that must not be
// acted on, and cuts the others to the robot's limits. It is not a certified safety function.
//
// In order: check_observation (shape, finite, range, age) -> the model -> check_finite on what the model made ->
// check_actions on what the robot would get (finite, jump from the current state, limits, rate). Whatever trips has a
// verdict and no actions: never zeros, which are a pose of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace nervus::serve {

// What a robot does that gets no actions: keep its pose, or stop.
enum class Verdict : std::uint8_t { hold, stop };

// Why the guard let nothing through.
enum class Trip : std::uint8_t { none, shape, not_finite, range, age, jump, limit, rate };

const char* name_of(Verdict verdict) noexcept;
const char* name_of(Trip trip) noexcept;

// Of one joint, in its own units.
struct JointLimits {
  static constexpr float unlimited = std::numeric_limits<float>::infinity();

  std::string name;
  float least = -unlimited, most = unlimited;              // of an action: cut to this range
  float state_least = -unlimited, state_most = unlimited;  // of a state: refused beyond
  float jump = unlimited;    // from the state to the chunk's first action, before and after cuts: refused beyond
  float rate = unlimited;    // change a second between two actions: cut
  float excess = unlimited;  // what cuts to limits and rate may take off a value: refused beyond
};

struct GuardLimits {
  std::vector<JointLimits> joints;  // one a dimension of state and action; none: only finite values are asked for
  float actions_per_second = 0;     // at which the robot plays a chunk; needed where a joint has a rate
  double age_ms = std::numeric_limits<double>::infinity();  // of an observation: refused beyond
  Verdict verdict = Verdict::hold;                          // of whatever trips
};

struct GuardReport {
  Trip tripped = Trip::none;
  std::int64_t clamped = 0;  // values cut to a limit or rate
  double max_excess = 0;     // the most that was taken off one, in the joint's units
  std::int64_t joint = -1;   // that tripped
  std::int64_t step = -1;    // of the chunk, that tripped; -1: of the state

  bool passed() const { return tripped == Trip::none; }
};

class Guard {
 public:
  explicit Guard(GuardLimits limits) : limits_(std::move(limits)) {}

  const GuardLimits& limits() const { return limits_; }

  // `age_ms`: how old the observation is; it trips unless it is a number from 0 to the limit.
  GuardReport check_observation(std::span<const float> state, double age_ms) const;
  // Trips on the first value that is not finite. Rows of `dimensions` values are the chunk's steps.
  static GuardReport check_finite(std::span<const float> values, std::size_t dimensions);
  // Cuts the actions, rows of `dimensions` values, to the limits. Where the report has tripped, they are not to be
  // used.
  GuardReport check_actions(std::span<const float> state, std::span<float> actions, std::size_t dimensions) const;

 private:
  void check_jump(std::span<const float> state, std::span<const float> actions, GuardReport& report) const;
  void cut(float& value, const float* last, std::size_t joint, GuardReport& report) const;

  GuardLimits limits_;
};

}  // namespace nervus::serve
