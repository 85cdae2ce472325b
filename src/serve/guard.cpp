#include "serve/guard.h"

#include <cmath>

#ifdef __FAST_MATH__
#error "the guard must not be built with -ffast-math, which takes isfinite for true"
#endif

namespace nervus::serve {

const char* name_of(Verdict verdict) noexcept { return verdict == Verdict::hold ? "hold" : "stop"; }

const char* name_of(Trip trip) noexcept {
  constexpr const char* names[] = {"none", "shape", "not_finite", "range", "age", "jump", "limit", "rate"};
  return names[static_cast<std::size_t>(trip)];
}

GuardReport Guard::check_observation(std::span<const float> state, double age_ms) const {
  GuardReport report;
  const bool shaped = limits_.joints.empty() ? !state.empty() : state.size() == limits_.joints.size();
  if (!shaped) {
    report.tripped = Trip::shape;
    return report;
  }
  report = check_finite(state, state.size());
  report.step = -1;
  if (!report.passed()) return report;
  for (std::size_t j = 0; j < limits_.joints.size(); ++j) {
    if (state[j] >= limits_.joints[j].state_least && state[j] <= limits_.joints[j].state_most) continue;
    report.tripped = Trip::range;
    report.joint = static_cast<std::int64_t>(j);
    return report;
  }
  // Written so that an age that is not a number trips.
  if (!(age_ms >= 0 && age_ms <= limits_.age_ms)) report.tripped = Trip::age;
  return report;
}

GuardReport Guard::check_finite(std::span<const float> values, std::size_t dimensions) {
  GuardReport report;
  if (dimensions == 0 || values.empty() || values.size() % dimensions != 0) {
    report.tripped = Trip::shape;
    return report;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    report.tripped = Trip::not_finite;
    report.joint = static_cast<std::int64_t>(i % dimensions);
    report.step = static_cast<std::int64_t>(i / dimensions);
    return report;
  }
  return report;
}

// Differences are taken in double, where those of finite floats are finite.
GuardReport Guard::check_jump(std::span<const float> state, std::span<const float> actions) const {
  GuardReport report;
  for (std::size_t j = 0; j < limits_.joints.size(); ++j) {
    if (std::abs(static_cast<double>(actions[j]) - state[j]) <= limits_.joints[j].jump) continue;
    report.tripped = Trip::jump;
    report.joint = static_cast<std::int64_t>(j);
    report.step = 0;
    return report;
  }
  return report;
}

// False if more would have to be taken off than the joint allows.
bool Guard::cut(float& value, float least, float most, Trip trip, std::size_t joint, GuardReport& report) const {
  const float inside = value < least ? least : value > most ? most : value;
  if (inside == value) return true;
  const double excess = std::abs(static_cast<double>(value) - inside);
  value = inside;
  ++report.clamped;
  report.max_excess = excess > report.max_excess ? excess : report.max_excess;
  if (excess <= limits_.joints[joint].excess) return true;
  report.tripped = trip;
  report.joint = static_cast<std::int64_t>(joint);
  return false;
}

GuardReport Guard::check_actions(std::span<const float> state, std::span<float> actions, std::size_t dimensions) const {
  GuardReport report = check_finite(actions, dimensions);
  if (!report.passed() || limits_.joints.empty()) return report;
  if (limits_.joints.size() != dimensions || state.size() != dimensions) {
    report.tripped = Trip::shape;
    return report;
  }
  report = check_finite(state, dimensions);
  report.step = -1;
  if (report.passed()) report = check_jump(state, actions);
  if (!report.passed()) return report;

  const std::size_t steps = actions.size() / dimensions;
  for (std::size_t step = 0; step < steps; ++step) {
    for (std::size_t j = 0; j < dimensions; ++j) {
      const JointLimits& joint = limits_.joints[j];
      float& value = actions[step * dimensions + j];
      bool passed = cut(value, joint.least, joint.most, Trip::limit, j, report);
      // Between the last action and this one, both within the limits, so that what is cut to the rate stays there.
      if (passed && step > 0) {
        const float last = actions[(step - 1) * dimensions + j];
        const float change = joint.rate / limits_.actions_per_second;
        passed = cut(value, last - change, last + change, Trip::rate, j, report);
      }
      if (passed) continue;
      report.step = static_cast<std::int64_t>(step);
      return report;
    }
  }
  return report;
}

}  // namespace nervus::serve
