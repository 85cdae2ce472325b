#include "serve/guard.h"

#include <cmath>

#ifdef __FAST_MATH__
#error "the guard must not be built with -ffast-math, which takes isfinite for true"
#endif

namespace nervus::serve {

namespace {

float inside(float value, float least, float most) { return value < least ? least : value > most ? most : value; }

}  // namespace

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
void Guard::check_jump(std::span<const float> state, std::span<const float> actions, GuardReport& report) const {
  for (std::size_t j = 0; j < limits_.joints.size(); ++j) {
    if (std::abs(static_cast<double>(actions[j]) - state[j]) <= limits_.joints[j].jump) continue;
    report.tripped = Trip::jump;
    report.joint = static_cast<std::int64_t>(j);
    report.step = 0;
    return;
  }
}

// To the limits, then to the rate from `last`, which lies within them: both cuts go the same way, and what the second
// leaves stays within the limits.
void Guard::cut(float& value, const float* last, std::size_t j, GuardReport& report) const {
  const JointLimits& joint = limits_.joints[j];
  const float asked = value, limited = inside(asked, joint.least, joint.most);
  value = limited;
  if (last) {
    const float change = joint.rate / limits_.actions_per_second;
    value = inside(limited, *last - change, *last + change);
  }
  if (value == asked) return;
  const double excess = std::abs(static_cast<double>(asked) - value);
  ++report.clamped;
  report.max_excess = excess > report.max_excess ? excess : report.max_excess;
  if (excess <= joint.excess) return;
  report.tripped = std::abs(static_cast<double>(asked) - limited) > joint.excess ? Trip::limit : Trip::rate;
  report.joint = static_cast<std::int64_t>(j);
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
  if (report.passed()) check_jump(state, actions, report);
  if (!report.passed()) return report;

  for (std::size_t i = 0; i < actions.size(); ++i) {
    cut(actions[i], i < dimensions ? nullptr : &actions[i - dimensions], i % dimensions, report);
    if (!report.passed()) {
      report.step = static_cast<std::int64_t>(i / dimensions);
      return report;
    }
  }
  // Of a state beyond the limits, what the first action was cut to may be further than what the model asked for.
  check_jump(state, actions, report);
  return report;
}

}  // namespace nervus::serve
