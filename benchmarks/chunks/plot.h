// One joint's commands over a few seconds, a panel a way, as an SVG picture.
#pragma once

#include <string>
#include <vector>

#include "chunks/simulation.h"

namespace nervus::bench {

std::string to_svg(const Scene& scene, const std::vector<Way>& ways, const std::vector<Played>& played);

}  // namespace nervus::bench
