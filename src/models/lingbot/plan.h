// The plan of a call: which rows go through which stage, and who sees whom. Masks are exact and padding is dropped:
// only views and text tokens that are there become rows, and what a row may attend to is a list of cache slots. Plans
// are plain integers made on the host, so that neither lengths nor masks change what a device has to launch.
#pragma once

#include <cstdint>
#include <vector>

#include "models/lingbot/config.h"
#include "models/model.h"

namespace nervus::lingbot {

// Rows of a stage: the position of each (for its rotary embedding), its slot in the cache, and the two ranges of slots
// that it sees, four numbers a row.
struct Rows {
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> slots;
  std::vector<std::int32_t> ranges;
  std::vector<std::int32_t> order;  // of several samples' suffix: see Visible::order

  std::int64_t count() const { return static_cast<std::int64_t>(positions.size()); }
  void reserve(std::int64_t rows);  // so that adding so many moves nothing
  void add(std::int64_t position, std::int64_t slot, std::int64_t begin, std::int64_t end, std::int64_t begin2 = 0,
           std::int64_t end2 = 0);
};

// The attention windows of a square view, constants of its size (public function: get_window_index).
struct ViewGeometry {
  std::int64_t grid = 0;                   // patches a side
  std::vector<std::int32_t> token_order;   // merged tokens, in the order that makes windows contiguous
  std::vector<std::int32_t> window_sizes;  // patches of each window, in that order

  std::int64_t patches() const { return grid * grid; }
  std::int64_t tokens() const { return static_cast<std::int64_t>(token_order.size()); }
};

ViewGeometry view_geometry(const VisionConfig& config, std::int64_t patches);

// Slots of the cache: sample b owns [b * stride(), ...), first its prefix, then, from `prefix`, its suffix.
struct CacheLayout {
  std::int64_t prefix = 0;  // longest prefix
  std::int64_t suffix = 0;  // 1 + chunk
  std::int64_t batch = 0;   // samples at most

  std::int64_t stride() const { return prefix + suffix; }
  // One more slot, which rows of padding write and nobody reads.
  std::int64_t spare() const { return batch * stride(); }
  std::int64_t slots() const { return spare() + 1; }
};

CacheLayout cache_layout(const Config& config, const Limits& limits);
// The largest call.
CallShape largest_call(const CacheLayout& cache, const Limits& limits);

// The rows of the vision tower, the same for any views: a slot is a row.
struct VisionRows {
  Rows window;  // attending inside their window
  Rows view;    // attending to their whole view
};

// Of a sample in the order of several samples' suffix.
std::int64_t suffix_places(const Config& config);

VisionRows vision_rows(const ViewGeometry& geometry, std::int64_t views);

// The extents are rounded up to those of a captured graph: views, rows and samples that fill them up come last, attend
// to nothing that is kept, and are seen by nobody.
struct Plan {
  CallShape shape;
  std::int64_t batch = 0;             // samples of the call
  std::vector<std::int32_t> patches;  // rows of [B, V, P]: views that are there, in window order
  // The prefix's rows are images, then queries, then text. Each is a row of one of three tables; -1 in the two others.
  std::vector<std::int32_t> image_rows;  // of the vision tower's output
  std::vector<std::int32_t> query_rows;  // of the depth queries
  std::vector<std::int32_t> text_rows;   // token ids
  Rows prefix;
  std::vector<std::int32_t> prefix_columns;  // where each prefix row of a sample stands in the padded [B, L]
  std::int64_t padded_length = 0;            // L
  Rows suffix;                               // the B states, then the B x chunk actions
};

// Throws Error(input) where a token that is there is not in the vocabulary.
Plan make_plan(const Config& config, const ViewGeometry& geometry, const CacheLayout& cache, const CallShapes& shapes,
               const Presence& presence);

}  // namespace nervus::lingbot
