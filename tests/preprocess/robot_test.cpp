#include "preprocess/robots/robot.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "preprocess/support.h"

using namespace nervus;

namespace {

// Statistics whose mean names each joint (left 0..5, right 6..11, grippers 100 and 101) and whose deviation is 1.
const std::string grouped = R"({"norm_stats": {
  "observation.state.arm.position": {"mean": [0,1,2,3,4,5,6,7,8,9,10,11], "std": [1,1,1,1,1,1,1,1,1,1,1,1]},
  "observation.state.effector.position": {"mean": [100, 101], "std": [1, 1]},
  "action.arm.position": {"mean": [0,10,20,30,40,50,60,70,80,90,100,110], "std": [1,1,1,1,1,1,1,1,1,1,1,1]},
  "action.effector.position": {"mean": [1000, 1010], "std": [1, 1]}}})";

}  // namespace

TEST_CASE("robots have a name and a unit for each joint and use each joint's statistics once") {
  CHECK(robot_names() == std::vector<std::string>{"aloha", "robotwin"});
  for (const std::string& name : robot_names()) {
    const Robot& robot = find_robot(name);
    CHECK(robot.joints.size() == 14);
    CHECK(robot.units.size() == 14);
    CHECK(robot.cameras == std::vector<std::string>{"cam_high", "cam_left_wrist", "cam_right_wrist"});
    CHECK(robot.normalization == Normalization::bounds_99_woclip);
    std::vector<int> used;
    for (const JointGroup& group : robot.groups) used.insert(used.end(), group.joints.begin(), group.joints.end());
    std::sort(used.begin(), used.end());
    for (int i = 0; i < 14; ++i) CHECK(used.at(static_cast<std::size_t>(i)) == i);
  }
  CHECK(find_robot("aloha").joints[3] == "left_forearm_roll");
  CHECK(find_robot("aloha").joints[7] == "right_waist");
  CHECK(find_robot("robotwin").joints[6] == "left_gripper");
  CHECK(find_robot("robotwin").units[13] == "fraction open");
}

TEST_CASE("the model's vector is in the robot's order: arm, gripper, arm, gripper, zeros") {
  const NormStats statistics = parse_norm_stats(grouped, "norm_stats.json");
  const JointTransform transform(find_robot("robotwin"), statistics, Normalization::meanstd);
  const std::vector<float> state = {0, 1, 2, 3, 4, 5, 101, 6, 7, 8, 9, 10, 11, 99};
  const std::vector<float> model = transform.state_to_model(state, 75);
  REQUIRE(model.size() == 75);
  for (int i = 0; i < 75; ++i) {
    const double expected = i == 6 ? 1.0 : i == 13 ? -2.0 : 0.0;
    CHECK(model[static_cast<std::size_t>(i)] == doctest::Approx(expected).epsilon(1e-5));
  }
}

TEST_CASE("actions come back in the robot's order and units, the padding cut off") {
  const NormStats statistics = parse_norm_stats(grouped, "norm_stats.json");
  const JointTransform transform(find_robot("robotwin"), statistics, Normalization::meanstd);
  std::vector<float> model(2 * 75, 7.0f);
  std::fill_n(model.begin(), 14, 0.0f);
  std::fill_n(model.begin() + 75, 14, 1.0f);
  const std::vector<float> actions = transform.actions_to_robot(model.data(), 2, 75);
  const std::vector<float> expected = {0, 10, 20, 30, 40, 50, 1000, 60, 70, 80, 90, 100, 110, 1010};
  REQUIRE(actions.size() == 28);
  for (std::size_t i = 0; i < 14; ++i) {
    CHECK(actions[i] == expected[i]);
    CHECK(actions[14 + i] == doctest::Approx(expected[i] + 1.0));
  }
}

TEST_CASE("statistics of whole features are taken where there are no groups") {
  const NormStats statistics = parse_norm_stats(R"({"norm_stats": {
      "observation.state": {"q01": [0,0,0,0,0,0,0,0,0,0,0,0,0,0], "q99": [2,2,2,2,2,2,2,2,2,2,2,2,2,4]},
      "action": {"q01": [0,0,0,0,0,0,0,0,0,0,0,0,0,1], "q99": [2,2,2,2,2,2,2,2,2,2,2,2,2,3]}}})",
                                                "norm_stats.json");
  const JointTransform transform(find_robot("robotwin"), statistics);
  const std::vector<float> model = transform.state_to_model(std::vector<float>(14, 2.0f), 14);
  CHECK(model[0] == doctest::Approx(1.0));
  CHECK(model[13] == doctest::Approx(0.0));
  const std::vector<float> actions = transform.actions_to_robot(std::vector<float>(14, 0.0f).data(), 1, 14);
  CHECK(actions[12] == doctest::Approx(1.0));
  CHECK(actions[13] == doctest::Approx(2.0));
}

TEST_CASE("without statistics values pass unchanged") {
  const JointTransform transform(find_robot("aloha"));
  std::vector<float> state(14);
  for (std::size_t i = 0; i < 14; ++i) state[i] = static_cast<float>(i) - 3.25f;
  std::vector<float> model = transform.state_to_model(state, 32);
  CHECK(model.size() == 32);
  CHECK(std::equal(state.begin(), state.end(), model.begin()));
  CHECK(transform.actions_to_robot(model.data(), 1, 32) == state);
}

TEST_CASE("the example's statistics fit its robot") {
  const NormStats statistics = read_norm_stats(Fields::read(NERVUS_SOURCE_DIR "/examples/aloha/norm_stats.json"));
  const JointTransform transform(find_robot("aloha"), statistics);
  const std::vector<float> model = transform.state_to_model(std::vector<float>(14, 0.0f), 75);
  const std::vector<float> back = transform.actions_to_robot(model.data(), 1, 75);
  for (const float value : back) CHECK(std::abs(value) < 4.0f);
}
