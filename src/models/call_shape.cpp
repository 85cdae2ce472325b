#include "models/call_shape.h"

#include <algorithm>

namespace nervus {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

std::vector<std::int64_t> steps_to(std::int64_t largest, std::int64_t granularity) {
  const std::int64_t share = (largest + CallShapes::most_graphs - 1) / CallShapes::most_graphs;
  const std::int64_t step = round_up(std::max<std::int64_t>(share, 1), granularity);
  std::vector<std::int64_t> steps;
  for (std::int64_t extent = step; extent < largest + step; extent += step) steps.push_back(std::min(extent, largest));
  return steps;
}

// The next of `steps`; without them, and for nothing, the extent itself.
std::int64_t next(const std::vector<std::int64_t>& steps, std::int64_t extent) {
  const auto found = std::lower_bound(steps.begin(), steps.end(), extent);
  return extent == 0 || found == steps.end() ? extent : *found;
}

}  // namespace

CallShapes::CallShapes(const CallShape& largest, std::int64_t row_granularity) : largest_(largest) {
  if (row_granularity == 1) return;
  views_ = steps_to(largest.views, 1);
  prefix_rows_ = steps_to(largest.prefix_rows, row_granularity);
  batch_ = steps_to(largest.batch, 1);
}

CallShape CallShapes::rounded(const CallShape& call) const {
  return {next(views_, call.views), next(prefix_rows_, call.prefix_rows), next(batch_, call.batch)};
}

}  // namespace nervus
