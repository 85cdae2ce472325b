// What is known of LingBot-VLA's linears in 8 bits: recipes, and the sites of calibrations that others made.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/lingbot/config.h"

namespace nervus::lingbot {

// The recipes (quant/recipe.h). "fp8" holds the language model's MLPs and the vision blocks' queries, keys and
// values in e4m3; "fp8-expert" those, and the expert's linears that add to its stream; "int8" those of "fp8", the
// language model's queries, keys and values, and the vision MLPs' gate and up in int8; "mixed" what "int8" does but for
// the language model's MLPs, which it holds in e4m3: the fastest where there are products of both. "fp8-all" and
// "int8-all" hold every linear of blocks and layers, the expert's too, and the merger's first. What reads pixels,
// states, actions and time, and what writes image tokens and velocities, stays in bf16.
std::vector<std::string> recipe_names();
// As JSON; empty if there is none of that name.
std::string recipe(const std::string& name);

// Sites of the format "max_abs_per_site", and the linear that each enters: "" for what is folded into constants or
// not run.
std::map<std::string, std::string> calibration_sites(const Config& config);

}  // namespace nervus::lingbot
