// A chunk of actions as an SVG picture: one small panel a dimension.
#pragma once

#include <string>
#include <vector>

#include "cli/actions.h"

namespace nervus::cli {

struct Plot {
  std::string title;
  std::string subtitle;
  const std::vector<Result>& results;  // drawn over each other in every panel; the first batch row of each
  std::vector<float> state;            // one a dimension: a dot at step 0; empty: none
};

std::string to_svg(const Plot& plot);

}  // namespace nervus::cli
