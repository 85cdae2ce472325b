#include "serve/guard_file.h"

#include <doctest/doctest.h>

#include "checkpoint/support.h"

using namespace nervus;
using namespace nervus::serve;
using nervus::test::error_of;
using nervus::test::TemporaryDirectory;

namespace {

const std::vector<std::string> two_names = {"waist", "gripper"};

std::pair<ErrorKind, std::string> refused(const std::string& text) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.write("robot.json", text);
  return error_of([&] { read_guard_limits(path, two_names, 2); }, directory.path());
}

std::string joints(const std::string& first) {
  return R"({"version": 1, "joints": [{"name": "waist")" + first + R"(}, {"name": "gripper"}]})";
}

}  // namespace

TEST_CASE("a robot file gives every limit, and none that it does not name") {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.write("robot.json", R"({
    "version": 1, "actions_per_second": 50, "on_trip": "stop", "observation_age_ms": 250,
    "joints": [{"name": "waist", "min": -3.5, "max": 3.25, "state_min": -4, "state_max": 4, "max_jump": 0.5,
                "max_rate": 6, "max_excess": 0}, {"name": "gripper"}]})");
  const GuardLimits limits = read_guard_limits(path, two_names, 2);
  CHECK(limits.actions_per_second == 50);
  CHECK(limits.age_ms == 250);
  CHECK(limits.verdict == Verdict::stop);
  REQUIRE(limits.joints.size() == 2);
  const JointLimits& waist = limits.joints[0];
  CHECK(waist.name == "waist");
  CHECK(waist.least == -3.5f);
  CHECK(waist.most == 3.25f);
  CHECK(waist.state_least == -4);
  CHECK(waist.state_most == 4);
  CHECK(waist.jump == 0.5f);
  CHECK(waist.rate == 6);
  CHECK(waist.excess == 0);
  const JointLimits& gripper = limits.joints[1];
  CHECK(gripper.least == -JointLimits::unlimited);
  CHECK(gripper.jump == JointLimits::unlimited);
  CHECK(gripper.excess == JointLimits::unlimited);
  CHECK(read_guard_limits(directory.write("short.json", joints("")), {}, 2).verdict == Verdict::hold);
}

TEST_CASE("a robot file that is wrong is refused, field by field") {
  const auto checkpoint = [](const std::string& message) { return std::pair(ErrorKind::checkpoint, message); };
  CHECK(refused(R"({"joints": []})") ==
        checkpoint("robot.json: field 'version': expected an integer from 1 to 1, but it is missing"));
  CHECK(refused(R"({"version": 1, "joints": [{"name": "waist"}]})") ==
        checkpoint(
            "robot.json: field 'joints': expected an array of 2, one a dimension of an action, found an array of 1"));
  CHECK(refused(R"({"version": 1, "joint": []})").second.starts_with("robot.json: field 'joint': expected one of the"));
  CHECK(
      refused(joints(R"(, "mxa": 1)")).second.starts_with("robot.json: field 'joints'[0]: field 'mxa': expected one"));
  CHECK(refused(joints(R"(, "max": 1e39)")) ==
        checkpoint("robot.json: field 'joints'[0]: field 'max': expected a number that float32 holds, found 1e+39"));
  CHECK(refused(joints(R"(, "min": 2, "max": 1)"))
            .second.starts_with("robot.json: field 'joints'[0]: field 'max': expected at least 'min', which is 2"));
  CHECK(refused(joints(R"(, "state_min": 2, "state_max": 1)")).second.find("'state_max'") != std::string::npos);
  CHECK(refused(joints(R"(, "max_jump": 0)")) ==
        checkpoint("robot.json: field 'joints'[0]: field 'max_jump': expected a number above 0, found 0"));
  CHECK(refused(joints(R"(, "max_excess": -1)")) ==
        checkpoint("robot.json: field 'joints'[0]: field 'max_excess': expected a number of at least 0, found -1"));
  CHECK(refused(joints(R"(, "max_rate": 1)")) ==
        checkpoint("robot.json: field 'joints'[0]: 'max_rate' needs the file's 'actions_per_second', found none"));
  CHECK(refused(R"({"version": 1, "joints": [{"name": "gripper"}, {"name": "waist"}]})") ==
        checkpoint("robot.json: field 'joints'[0]: expected 'waist', which the policy has there, found 'gripper'"));
  CHECK(refused(R"({"version": 1, "on_trip": "go", "joints": [{"name": "waist"}, {"name": "gripper"}]})") ==
        checkpoint("robot.json: field 'on_trip': expected 'hold' or 'stop', found \"go\""));
  CHECK(refused("[]").first == ErrorKind::checkpoint);
}
