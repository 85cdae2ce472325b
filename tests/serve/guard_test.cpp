#include "serve/guard.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace nervus::serve;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float largest = std::numeric_limits<float>::max();

// Two joints: within -1 .. 1, at most 0.5 from the state, 10 a second at 50 actions a second; and one without limits.
GuardLimits two_joints() {
  GuardLimits limits;
  limits.joints.resize(2);
  limits.joints[0] = {.name = "waist", .least = -1, .most = 1, .state_least = -1.5f, .state_most = 1.5f, .jump = 0.5f};
  limits.joints[0].rate = 10;
  limits.joints[1].name = "free";
  limits.actions_per_second = 50;
  limits.age_ms = 100;
  return limits;
}

}  // namespace

TEST_CASE("names of verdicts and trips") {
  CHECK(std::string(name_of(Verdict::hold)) == "hold");
  CHECK(std::string(name_of(Verdict::stop)) == "stop");
  CHECK(std::string(name_of(Trip::none)) == "none");
  CHECK(std::string(name_of(Trip::not_finite)) == "not_finite");
  CHECK(std::string(name_of(Trip::rate)) == "rate");
}

TEST_CASE("an observation: shape, finite, range, age") {
  const Guard guard(two_joints());
  struct Case {
    std::vector<float> state;
    double age_ms;
    Trip tripped;
    std::int64_t joint;
  };
  for (const auto& [state, age_ms, tripped, joint] : std::vector<Case>{
           {{0, 7}, 0, Trip::none, -1},
           {{0, 7}, 100, Trip::none, -1},
           {{1.5f, largest}, 1, Trip::none, -1},
           {{}, 0, Trip::shape, -1},
           {{0}, 0, Trip::shape, -1},
           {{0, 0, 0}, 0, Trip::shape, -1},
           {{not_a_number, 0}, 0, Trip::not_finite, 0},
           {{0, not_a_number}, 0, Trip::not_finite, 1},
           {{0, infinity}, 0, Trip::not_finite, 1},
           {{-infinity, 0}, 0, Trip::not_finite, 0},
           {{1.6f, 0}, 0, Trip::range, 0},
           {{-1.6f, 0}, 0, Trip::range, 0},
           {{0, 0}, 100.5, Trip::age, -1},
           {{0, 0}, -0.5, Trip::age, -1},
           {{0, 0}, std::nan(""), Trip::age, -1},
           {{0, 0}, HUGE_VAL, Trip::age, -1},
       }) {
    const GuardReport report = guard.check_observation(state, age_ms);
    CAPTURE(age_ms);
    CHECK(report.tripped == tripped);
    CHECK(report.joint == joint);
    CHECK(report.step == -1);
    CHECK(report.passed() == (tripped == Trip::none));
  }
}

TEST_CASE("an observation without a robot file need only be finite") {
  const Guard guard(GuardLimits{});
  CHECK(guard.check_observation(std::vector<float>{1e30f, -5}, 1e9).passed());
  CHECK(guard.check_observation({}, 0).tripped == Trip::shape);
  CHECK(guard.check_observation(std::vector<float>{0, not_a_number}, 0).tripped == Trip::not_finite);
}

TEST_CASE("the first value that is not finite is found wherever it is") {
  for (const float wrong : {not_a_number, -not_a_number, infinity, -infinity})
    for (std::size_t at = 0; at < 12; ++at) {
      std::vector<float> values(12, largest);
      values[at] = wrong;
      const GuardReport report = Guard::check_finite(values, 3);
      CHECK(report.tripped == Trip::not_finite);
      CHECK(report.joint == static_cast<std::int64_t>(at % 3));
      CHECK(report.step == static_cast<std::int64_t>(at / 3));
    }
  CHECK(Guard::check_finite(std::vector<float>{largest, -largest, 0, 1e-45f}, 2).passed());
  CHECK(Guard::check_finite({}, 3).tripped == Trip::shape);
  CHECK(Guard::check_finite(std::vector<float>{1, 2, 3}, 2).tripped == Trip::shape);
  CHECK(Guard::check_finite(std::vector<float>{1}, 0).tripped == Trip::shape);
}

TEST_CASE("actions within the limits pass as they are") {
  const Guard guard(two_joints());
  const std::vector<float> before = {0.5f, 1e30f, 0.6f, -1e30f, 0.75f, 0};
  std::vector<float> actions = before;
  const GuardReport report = guard.check_actions(std::vector<float>{0, 0}, actions, 2);
  CHECK(report.passed());
  CHECK(report.clamped == 0);
  CHECK(report.max_excess == 0);
  CHECK(actions == before);
}

TEST_CASE("actions are cut to the limits and to the rate") {
  const Guard guard(two_joints());
  std::vector<float> actions = {1.25f, 0, 3, 0, 0.5f, 0, -3, 0};
  const GuardReport report = guard.check_actions(std::vector<float>{1, 0}, actions, 2);
  CHECK(report.passed());
  // 1.25 -> 1; 3 -> 1; 0.5 -> 1 - 10 / 50; -3 -> -1 -> 0.8 - 10 / 50.
  CHECK(actions[0] == 1);
  CHECK(actions[2] == 1);
  CHECK(actions[4] == doctest::Approx(0.8));
  CHECK(actions[6] == doctest::Approx(0.6));
  CHECK(report.clamped == 4);
  CHECK(report.max_excess == doctest::Approx(3.6));
  for (std::size_t step = 1; step < 4; ++step) CHECK(std::abs(actions[2 * step] - actions[2 * step - 2]) <= 0.2001f);
}

TEST_CASE("a cut beyond what the joint allows trips") {
  GuardLimits limits = two_joints();
  limits.joints[0].excess = 0.3f;
  limits.joints[0].jump = infinity;
  const Guard guard(limits);
  const std::vector<float> state = {1, 0};
  std::vector<float> actions = {1.25f, 0, 1, 0};
  CHECK(guard.check_actions(state, actions, 2).passed());
  actions = {1, 0, -1.5f, 0};
  GuardReport report = guard.check_actions(state, actions, 2);
  CHECK(report.tripped == Trip::limit);
  CHECK(report.joint == 0);
  CHECK(report.step == 1);
  actions = {1, 0, 1, 0, 0, 0};
  report = guard.check_actions(state, actions, 2);
  CHECK(report.tripped == Trip::rate);
  CHECK(report.joint == 0);
  CHECK(report.step == 2);
  // Of 0.6 that are taken off, 0.2 are the limit's and the rest the rate's.
  actions = {0.4f, 0, 1.2f, 0};
  report = guard.check_actions(state, actions, 2);
  CHECK(report.tripped == Trip::rate);
  CHECK(report.max_excess == doctest::Approx(0.6));
}

TEST_CASE("a jump from the state trips") {
  const Guard guard(two_joints());
  std::vector<float> actions = {0.51f, 0};
  const GuardReport report = guard.check_actions(std::vector<float>{0, 0}, actions, 2);
  CHECK(report.tripped == Trip::jump);
  CHECK(report.joint == 0);
  CHECK(report.step == 0);
  actions = {-0.5f, 0};
  CHECK(guard.check_actions(std::vector<float>{0, 0}, actions, 2).passed());
  // Of a state beyond the limits: 1.5 is 0.5 away, what it is cut to is not.
  actions = {1.5f, 0};
  const GuardReport cut = guard.check_actions(std::vector<float>{2, 0}, actions, 2);
  CHECK(cut.tripped == Trip::jump);
  CHECK(cut.joint == 0);
  CHECK(cut.step == 0);
}

TEST_CASE("values that are not finite never pass, whatever the limits") {
  for (const GuardLimits& limits : {GuardLimits{}, two_joints()}) {
    const Guard guard(limits);
    for (const float wrong : {not_a_number, -not_a_number, infinity, -infinity})
      for (std::size_t at = 0; at < 6; ++at) {
        std::vector<float> actions(6, 0);
        actions[at] = wrong;
        const GuardReport report = guard.check_actions(std::vector<float>{0, 0}, actions, 2);
        CHECK(report.tripped == Trip::not_finite);
        CHECK(report.joint == static_cast<std::int64_t>(at % 2));
        CHECK(report.step == static_cast<std::int64_t>(at / 2));
      }
  }
  std::vector<float> actions = {0, 0};
  const GuardReport report = Guard(two_joints()).check_actions(std::vector<float>{not_a_number, 0}, actions, 2);
  CHECK(report.tripped == Trip::not_finite);
  CHECK(report.step == -1);
}

TEST_CASE("the largest floats are cut without overflow") {
  GuardLimits limits;
  limits.joints = {{.name = "wide", .least = -largest, .most = -largest}};
  std::vector<float> actions = {largest, largest};
  const GuardReport report = Guard(limits).check_actions(std::vector<float>{0}, actions, 1);
  CHECK(report.passed());
  CHECK(report.clamped == 2);
  CHECK(std::isfinite(report.max_excess));
  CHECK(actions == std::vector<float>{-largest, -largest});
}

TEST_CASE("a chunk or a state of another shape trips") {
  const Guard guard(two_joints());
  const std::vector<float> state = {0, 0};
  std::vector<float> actions(6, 0);
  CHECK(guard.check_actions(state, actions, 3).tripped == Trip::shape);
  CHECK(guard.check_actions(state, actions, 4).tripped == Trip::shape);
  CHECK(guard.check_actions(state, {}, 2).tripped == Trip::shape);
  CHECK(guard.check_actions(std::vector<float>{0}, actions, 2).tripped == Trip::shape);
  CHECK(Guard(GuardLimits{}).check_actions({}, actions, 3).passed());
}
