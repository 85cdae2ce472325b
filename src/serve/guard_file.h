// A robot file: the guard's limits of one robot, as JSON.
//
//   {"version": 1, "actions_per_second": 50, "on_trip": "hold", "observation_age_ms": 500,
//    "joints": [{"name": "left_waist", "min": -3.1, "max": 3.1, "state_min": -3.2, "state_max": 3.2,
//                "max_jump": 0.5, "max_rate": 6.0, "max_excess": 0.2}, ...]}
//
// "version" and "joints" with their names are required; a limit that is not there does not hold. "max_rate" (a second)
// needs "actions_per_second".
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "serve/guard.h"

namespace nervus::serve {

// `joints`: the policy's, in its order, which must be the file's; where it has no names (no robot), `dimensions` joints
// are asked for. Throws Error(checkpoint | io) naming file and field.
GuardLimits read_guard_limits(const std::filesystem::path& path, const std::vector<std::string>& joints,
                              std::size_t dimensions);

// The same of a file's text.
GuardLimits parse_guard_limits(std::string_view text, const std::string& file, const std::vector<std::string>& joints,
                               std::size_t dimensions);

}  // namespace nervus::serve
