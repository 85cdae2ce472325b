// What is known of LingBot-VLA's linears in other formats: recipes, and the sites of calibrations that others made.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/lingbot/config.h"

namespace nervus::lingbot {

// The recipes (quant/recipe.h). "f16" holds vision and language in f16, as the next three do with what they have not in
// 8 bits. "fp8": the language model's MLPs and the expert's layers in e4m3. "int8": in vision and language what norms
// feed (queries, keys and values, gate and up), and the language model's down, in int8. "mixed": what norms feed there
// in int8, the language model's down and the expert's layers in e4m3: the fastest where there are products of both.
// "fp8-all" and "int8-all" hold every linear of blocks and layers, the expert's too, and the merger's first. What reads
// states, actions and time, and what writes velocities, stays in bf16.
std::vector<std::string> recipe_names();
// As JSON; empty if there is none of that name.
std::string recipe(const std::string& name);

// Sites of the format "max_abs_per_site", and the linear that each enters: "" for what is folded into constants or
// not run.
std::map<std::string, std::string> calibration_sites(const Config& config);

}  // namespace nervus::lingbot
