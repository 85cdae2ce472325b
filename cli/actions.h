// Chunks of actions: what `run` writes and `compare` reads.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cli/output.h"
#include "nervus/array.h"
#include "nervus/observation.h"

namespace nervus::cli {

// The chunk of one step count.
struct Result {
  std::string name;  // "actions.10"
  int steps = 0;     // Euler steps
  bool batched = false;
  ActionChunk chunk;
};

// "left_waist [rad]"; the name alone where the unit is unknown.
std::string dimension_name(const ActionChunk& chunk, std::size_t dimension);

// The stages of a timing in the order in which they run, "total" last.
std::vector<std::pair<std::string, double>> stages_of(const ActionChunk& chunk);

// [batch, steps, dimensions], without the batch where the result is not batched.
Array to_array(const Result& result);

// {"name", "steps", "shape", "names", "units", "timing_ms", "values"}, the values nested by shape.
Json to_json(const Result& result, bool with_values);

// Throws Error(usage) unless the ending is .safetensors, .npy, .csv or .json, and, for .npy and .csv, `results` is 1.
void check_action_path(const std::filesystem::path& path, std::size_t results);
// Writes by the path's ending; a .json holds `document`. Throws Error(io).
void write_actions(const std::filesystem::path& path, const std::vector<Result>& results, const Json& document);

// The arrays of a file: those of `write_actions` (.json, .csv as f32) or of read_arrays. Throws Error(input | io).
std::map<std::string, Array> read_actions(const std::filesystem::path& path);

}  // namespace nervus::cli
