// Observations from files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "nervus/observation.h"

namespace nervus::cli {

// A state and, where its file says them, the joints' names in the file's order.
struct StateFile {
  std::vector<float> values;
  std::vector<std::string> names;
};

// Reads .json (a list of numbers, or an object with "state" or "values" and perhaps "names"), .npy, .csv (one line of
// numbers, perhaps below a line of names) or .txt (numbers).
StateFile read_state(const std::filesystem::path& path);

// Reads "camera=file", a PNG, JPEG or .npy [height, width, 3] u8, into the observation.
void add_image(Observation& observation, const std::string& argument);

// The observation of a directory: cam_high, cam_left_wrist and cam_right_wrist .png, .jpg, .jpeg or .npy, at least one
// of them; state .json, .npy, .csv or .txt; prompt.txt.
Observation read_observation(const std::filesystem::path& directory);

}  // namespace nervus::cli
