// CallShape: the extents that the launches of a call depend on, and which of them graphs are captured for.
#pragma once

#include <cstdint>
#include <vector>

namespace nervus {

struct CallShape {
  std::int64_t views = 0;        // of vision: the views that are there, over the batch
  std::int64_t prefix_rows = 0;  // of the prefix
  std::int64_t batch = 0;        // of denoising
};

// The extents of each stage that graphs are captured for, rising: steps of `row_granularity` prefix rows, of one view
// and of one sample, or of the least multiple of these that makes no more than `most_graphs` steps to the largest. A
// call's extents are rounded up to the next; what fills them up is read by nobody.
class CallShapes {
 public:
  static constexpr std::int64_t most_graphs = 40;

  // With a granularity of 1 graphs hold no extents: nothing is listed, and nothing rounded.
  CallShapes(const CallShape& largest, std::int64_t row_granularity);

  const CallShape& largest() const { return largest_; }
  const std::vector<std::int64_t>& views() const { return views_; }
  const std::vector<std::int64_t>& prefix_rows() const { return prefix_rows_; }
  const std::vector<std::int64_t>& batch() const { return batch_; }
  CallShape rounded(const CallShape& call) const;

 private:
  CallShape largest_;
  std::vector<std::int64_t> views_, prefix_rows_, batch_;
};

}  // namespace nervus
