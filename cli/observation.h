// An observation from the files that the command line names.
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
// numbers, perhaps below a line of names) or .txt (numbers). Throws Error(input | io).
StateFile read_state(const std::filesystem::path& path);

// Reads "camera=file", a PNG, JPEG or .npy [height, width, 3] u8, into the observation. Throws Error(usage) unless
// there is a '=' and the camera is new, Error(input | io).
void add_image(Observation& observation, const std::string& argument);

}  // namespace nervus::cli
