// The weight table: every tensor of a LingBot-VLA checkpoint with its shape in the words of the config.
#pragma once

#include <vector>

#include "models/families.h"
#include "models/lingbot/config.h"

namespace nervus::lingbot {

std::vector<TensorSpec> weight_table(const Config& config);

// Beginnings of names that belong to training only (depth_align_head, lm_head).
std::vector<std::string> unused_prefixes();

}  // namespace nervus::lingbot
