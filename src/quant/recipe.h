// Recipe: which linears are held in which format, as data.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/linear.h"
#include "quant/calibration.h"

namespace nervus {

// Rules in order. Of those that match a linear's name the last decides; a linear that none matches keeps the
// activation type.
struct Recipe {
  struct Rule {
    std::string linears;          // a name in which '*' stands for any characters
    std::optional<DType> format;  // f16, e4m3 or i8; none: the activation type
  };
  std::string file;  // named in errors
  std::vector<Rule> rules;
};

// {"version": 1, "rules": [{"linears": "*.mlp.*", "format": "f8_e4m3"}]}, where a format is "f16", "f8_e4m3", "i8" or
// "bf16".
// Throws Error(checkpoint) that names `file` and rule.
Recipe parse_recipe(std::string_view text, const std::string& file);

// What the recipe makes of the linears of a model. A scale is in f16 float16_input_scale, in e4m3 the calibrated range
// over the format's largest value, for a stream with Calibration::headroom, or 1 without a calibration. Throws
// Error(checkpoint) naming a rule that matches no linear, or a linear in e4m3 whose range the calibration does not
// know.
Formats formats_of(const Recipe& recipe, const std::vector<std::string>& linears, const Calibration* calibration);

}  // namespace nervus
