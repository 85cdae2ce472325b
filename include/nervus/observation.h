// What a robot sees and is told, and what comes back.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nervus/array.h"

namespace nervus {

// An RGB image, 8 bits a channel, row-major [height, width, 3].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;
};

// One moment of a robot.
struct Observation {
  // Camera name -> image. The policy's cameras are cam_high, cam_left_wrist and cam_right_wrist; one
  // that is absent counts as a missing view. Images of any size: resized as Pillow's BILINEAR.
  std::map<std::string, Image> images;
  // Joint state in the robot's own order and units (radians, metres), before normalisation.
  std::vector<float> state;
  // The instruction, valid UTF-8.
  std::string prompt;
};

// A chunk of future actions, [steps, dimensions] row-major, in the robot's own order and units
// (in the model's normalised units if the policy has no normalisation statistics).
struct ActionChunk {
  std::int64_t batch = 1;
  std::int64_t steps = 0;
  std::int64_t dimensions = 0;
  std::vector<float> values;             // batch * steps * dimensions
  std::vector<std::string> names;        // one a dimension
  std::vector<std::string> units;        // one a dimension; empty where unknown
  std::map<std::string, double> timing;  // stage -> milliseconds
};

}  // namespace nervus
