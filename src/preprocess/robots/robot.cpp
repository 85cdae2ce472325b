#include "preprocess/robots/robot.h"

#include <array>
#include <cmath>
#include <initializer_list>

#include "core/message.h"

namespace nervus {
namespace {

// Two arms of six joints and a gripper, left then right; the statistics keep the twelve joints and the two grippers
// apart (the public configs/robot_configs/robotwin.yaml).
Robot two_arms(std::string name, std::initializer_list<const char*> arm_joints) {
  Robot robot;
  robot.name = std::move(name);
  robot.groups = {{"arm.position", {}}, {"effector.position", {}}};
  robot.cameras = {"cam_high", "cam_left_wrist", "cam_right_wrist"};
  const auto add = [&](JointGroup& group, const std::string& joint, const char* unit) {
    group.joints.push_back(static_cast<int>(robot.joints.size()));
    robot.joints.push_back(joint);
    robot.units.push_back(unit);
  };
  for (const std::string side : {"left_", "right_"}) {
    for (const char* joint : arm_joints) add(robot.groups[0], side + joint, "rad");
    add(robot.groups[1], side + "gripper", "fraction open");
  }
  return robot;
}

const std::array<Robot, 2>& robots() {
  static const std::array<Robot, 2> all = {
      // gym-aloha: the simulated ALOHA's two ViperX arms.
      two_arms("aloha", {"waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"}),
      // RoboTwin 2.0: arms whose joints have no names of their own.
      two_arms("robotwin", {"joint_1", "joint_2", "joint_3", "joint_4", "joint_5", "joint_6"}),
  };
  return all;
}

// Where each joint's statistics are: in the groups' features below `prefix`, or in the feature `prefix` as a whole.
std::vector<StatisticsColumn> columns_of(const Robot& robot, const NormStats& statistics, const std::string& prefix) {
  std::vector<StatisticsColumn> columns(robot.joints.size());
  bool grouped = !statistics.features.contains(prefix);
  for (const JointGroup& group : robot.groups) {
    const std::string feature = prefix + "." + group.name;
    grouped |= statistics.features.contains(feature);
    for (std::size_t i = 0; i < group.joints.size(); ++i) {
      columns[static_cast<std::size_t>(group.joints[i])] = {feature, i};
    }
  }
  for (std::size_t i = 0; !grouped && i < columns.size(); ++i) columns[i] = {prefix, i};
  return columns;
}

}  // namespace

const Robot& find_robot(std::string_view name) {
  for (const Robot& robot : robots()) {
    if (robot.name == name) return robot;
  }
  fail(ErrorKind::usage, "robot: expected one of ", joined(robots(), &Robot::name), "; found '", name, "'");
}

std::vector<std::string> robot_names() {
  std::vector<std::string> result;
  for (const Robot& robot : robots()) result.push_back(robot.name);
  return result;
}

JointTransform::JointTransform(const Robot& robot)
    : robot_(&robot), state_(robot.joints.size()), action_(robot.joints.size()) {}

JointTransform::JointTransform(const Robot& robot, const NormStats& statistics, std::optional<Normalization> type)
    : robot_(&robot),
      state_(statistics, columns_of(robot, statistics, "observation.state"), type.value_or(robot.normalization)),
      action_(statistics, columns_of(robot, statistics, "action"), type.value_or(robot.normalization)) {}

void JointTransform::require_room(const char* field, std::int64_t room) const {
  if (room >= static_cast<std::int64_t>(dimensions())) return;
  fail(ErrorKind::checkpoint, "robot '", robot_->name, "' has ", dimensions(), " joints, but the model's ", field,
       " is ", room);
}

std::vector<float> JointTransform::state_to_model(std::span<const float> state, std::int64_t max_state_dim) const {
  require_room("max_state_dim", max_state_dim);
  if (state.size() != dimensions()) {
    fail(ErrorKind::input, "state: expected ", dimensions(), " values for robot '", robot_->name, "' (",
         robot_->joints.front(), " ... ", robot_->joints.back(), "), found ", state.size());
  }
  for (std::size_t i = 0; i < state.size(); ++i) {
    if (std::isfinite(state[i])) continue;
    fail(ErrorKind::input, "state: value ", i, " (", robot_->joints[i], "): expected a finite number, found ",
         std::isnan(state[i]) ? "nan" : "infinity");
  }
  std::vector<float> result(static_cast<std::size_t>(max_state_dim), 0.0f);
  state_.normalize(state.data(), result.data());
  return result;
}

std::vector<float> JointTransform::actions_to_robot(const float* actions, std::int64_t steps,
                                                    std::int64_t max_action_dim) const {
  require_room("max_action_dim", max_action_dim);
  std::vector<float> result(static_cast<std::size_t>(steps) * dimensions());
  for (std::int64_t step = 0; step < steps; ++step) {
    action_.unnormalize(actions + step * max_action_dim, result.data() + static_cast<std::size_t>(step) * dimensions());
  }
  return result;
}

}  // namespace nervus
