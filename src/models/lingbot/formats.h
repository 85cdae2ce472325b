// What is known of LingBot-VLA's linears in 8 bits: recipes, and the sites of calibrations that others made.
#pragma once

#include <map>
#include <string>

#include "models/lingbot/config.h"

namespace nervus::lingbot {

// A recipe (quant/recipe.h): "fp8" holds the linears of the vision blocks, the merger's first and the language model's
// in e4m3, "fp8-all" those of the expert's layers too. What reads pixels, states, actions and time, and what writes
// image tokens and velocities, stays in bf16. Empty if there is none of that name.
std::string recipe(const std::string& name);

// Sites of the format "max_abs_per_site", and the linear that each enters: "" for what is folded into constants or
// not run.
std::map<std::string, std::string> calibration_sites(const Config& config);

}  // namespace nervus::lingbot
