// Robots: whose joints a state and an action are, in which order and units, and where the statistics keep them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "preprocess/normalize.h"

namespace nervus {

// A part of the joint vector as the statistics store it.
struct JointGroup {
  std::string name;         // "arm.position": "observation.state.arm.position" and "action.arm.position"
  std::vector<int> joints;  // the robot's index of each of its dimensions
};

struct Robot {
  std::string name;
  std::vector<std::string> joints;  // in the robot's order: that of states, actions and the model's vectors
  std::vector<std::string> units;   // one a joint
  std::vector<JointGroup> groups;   // together every joint once
  std::vector<std::string> cameras;
  Normalization normalization = Normalization::bounds_99_woclip;
};

// Throws Error(usage) for an unknown name, listing the known robots.
const Robot& find_robot(std::string_view name);
// Every robot's name, in alphabetical order.
std::vector<std::string> robot_names();

// Between a robot's joints and the model's padded vectors. The model's vectors are in the robot's order, padded with
// zeros behind: the public RobotwinDataset normalises `observation.state` and `action` as they are, and lays the
// statistics' groups out in the robot's order for it (data/vla_data, Normalizer and prepare_state).
class JointTransform {
 public:
  // Without statistics: values pass unchanged.
  explicit JointTransform(const Robot& robot);
  // `type` replaces the robot's own normalisation. Statistics are those of the groups or, where a file has none of
  // them, of the whole features `observation.state` and `action`. Throws Error(checkpoint).
  JointTransform(const Robot& robot, const NormStats& statistics, std::optional<Normalization> type = std::nullopt);

  const Robot& robot() const { return *robot_; }
  // Values of a state and of an action: the number of joints.
  std::size_t dimensions() const { return state_.dimensions(); }

  // Throws Error(checkpoint) naming the field if the model's vector of so many values is shorter than the joints.
  void require_room(const char* field, std::int64_t room) const;
  // State in the robot's order and units -> `max_state_dim` values for the model. Throws Error(input) on a wrong
  // length or a value that is not finite, Error(checkpoint) if the model's vector is too short.
  std::vector<float> state_to_model(std::span<const float> state, std::int64_t max_state_dim) const;
  // Actions [steps, max_action_dim] of the model -> [steps, dimensions()] in the robot's order and units.
  std::vector<float> actions_to_robot(const float* actions, std::int64_t steps, std::int64_t max_action_dim) const;

 private:
  const Robot* robot_;
  Normalizer state_;
  Normalizer action_;
};

}  // namespace nervus
