#include "models/lingbot/plan.h"

#include <algorithm>
#include <cmath>

#include "backends/kernels.h"
#include "core/message.h"

namespace nervus::lingbot {
namespace {

constexpr std::int64_t absent = -1;  // in an index: not of this table

// One sample's prefix, counted: [images][queries][text].
struct Sample {
  std::int64_t index = 0;  // in the batch
  std::int64_t first_slot = 0;
  std::vector<std::int64_t> views;  // those that are there
  std::int64_t images = 0;          // tokens of its views
  std::int64_t queries = 0;
  std::int64_t text = 0;

  std::int64_t length() const { return images + queries + text; }
};

class Planner {
 public:
  Planner(const Config& config, const ViewGeometry& geometry, const CacheLayout& cache, const Presence& presence)
      : config_(config), geometry_(geometry), cache_(cache), presence_(presence), tokens_(geometry.tokens()) {}

  Plan make(const CallShapes& shapes) {
    plan_.batch = presence_.batch;
    plan_.padded_length = presence_.views * (tokens_ + config_.query_tokens) + presence_.text;
    CallShape exact{.batch = presence_.batch};
    for (std::int64_t b = 0; b < presence_.batch; ++b) {
      samples_.push_back(count_sample(b));
      exact.views += std::ssize(samples_.back().views);
      exact.prefix_rows += samples_.back().length();
    }
    plan_.shape = shapes.rounded(exact);
    reserve();
    plan_patches();
    plan_images();
    plan_queries();
    plan_text();
    pad_prefix();
    plan_suffix();
    return std::move(plan_);
  }

 private:
  Sample count_sample(std::int64_t b) const {
    Sample s{.index = b, .first_slot = b * cache_.stride()};
    for (std::int64_t v = 0; v < presence_.views; ++v) {
      if (presence_.image_mask[b * presence_.views + v]) s.views.push_back(v);
    }
    s.images = std::ssize(s.views) * tokens_;
    s.queries = std::ssize(s.views) * config_.query_tokens;
    for (std::int64_t t = 0; t < presence_.text; ++t) s.text += presence_.token_mask[b * presence_.text + t] ? 1 : 0;
    return s;
  }

  void reserve() {
    const std::int64_t rows = plan_.shape.prefix_rows;
    for (auto* each : {&plan_.image_rows, &plan_.query_rows, &plan_.text_rows, &plan_.prefix_columns})
      each->reserve(rows);
    plan_.patches.reserve(plan_.shape.views * geometry_.patches());
    plan_.prefix.reserve(rows);
    plan_.suffix.reserve(plan_.shape.batch * cache_.suffix);
  }

  void plan_patches() {
    for (const Sample& s : samples_) {
      for (const std::int64_t view : s.views) add_patches(s.index * presence_.views + view);
    }
    while (std::ssize(plan_.patches) < plan_.shape.views * geometry_.patches()) add_patches(0);
  }

  void add_patches(std::int64_t view) {
    const std::int64_t unit = config_.vision.unit();
    for (const std::int32_t token : geometry_.token_order) {
      for (std::int64_t k = 0; k < unit; ++k) {
        plan_.patches.push_back(static_cast<std::int32_t>(view * geometry_.patches() + token * unit + k));
      }
    }
  }

  // The row of each table that the next prefix row is.
  void add_source(std::int64_t image, std::int64_t query, std::int64_t text) {
    plan_.image_rows.push_back(static_cast<std::int32_t>(image));
    plan_.query_rows.push_back(static_cast<std::int32_t>(query));
    plan_.text_rows.push_back(static_cast<std::int32_t>(text));
  }

  // Where the next prefix row stands in the padded length.
  void add_column(const Sample& s, std::int64_t column) {
    plan_.prefix_columns.push_back(static_cast<std::int32_t>(s.index * plan_.padded_length + column));
  }

  // Images and text see images and text (in a causal prefix, up to themselves), never the queries.
  void add_row(const Sample& s, std::int64_t place) {
    const std::int64_t end = config_.causal ? place + 1 : s.length();
    const std::int64_t base = s.first_slot, text = s.images + s.queries;
    if (s.queries == 0 || end <= s.images) {
      plan_.prefix.add(place, base + place, base, base + end);
    } else {
      plan_.prefix.add(place, base + place, base, base + s.images, base + text, base + std::max(end, text));
    }
  }

  void plan_images() {
    std::vector<std::int32_t> raster(tokens_);  // the row of the vision tower's output that holds each token of a view
    for (std::int64_t i = 0; i < tokens_; ++i) raster[geometry_.token_order[i]] = static_cast<std::int32_t>(i);
    std::int64_t first = 0;  // row of the view in the vision tower's output
    for (const Sample& s : samples_) {
      std::int64_t place = 0;
      for (const std::int64_t view : s.views) {
        for (std::int64_t token = 0; token < tokens_; ++token) {
          add_source(first + raster[token], absent, absent);
          add_column(s, view * tokens_ + token);
          add_row(s, place++);
        }
        first += tokens_;
      }
    }
  }

  // A view's queries see that view and themselves.
  void plan_queries() {
    for (const Sample& s : samples_) {
      std::int64_t place = s.images, image = s.first_slot, query = s.first_slot + s.images;
      for (const std::int64_t view : s.views) {
        for (std::int64_t j = 0; j < config_.query_tokens; ++j, ++place) {
          add_source(absent, j, absent);
          add_column(s, presence_.views * tokens_ + view * config_.query_tokens + j);
          plan_.prefix.add(place, s.first_slot + place, image, image + tokens_, query, query + config_.query_tokens);
        }
        image += tokens_;
        query += config_.query_tokens;
      }
    }
  }

  void plan_text() {
    for (const Sample& s : samples_) {
      std::int64_t place = s.images + s.queries;
      for (std::int64_t t = 0; t < presence_.text; ++t) {
        const std::int64_t at = s.index * presence_.text + t;
        if (!presence_.token_mask[at]) continue;
        const std::int32_t token = presence_.tokens[at];
        if (token < 0 || token >= config_.vocabulary) {
          fail(ErrorKind::input, "lang_tokens[", s.index, ", ", t, "]: expected a token of 0 to ",
               config_.vocabulary - 1, ", found ", token, ": is the tokenizer this checkpoint's?");
        }
        add_source(absent, absent, token);
        add_column(s, plan_.padded_length - presence_.text + t);
        add_row(s, place++);
      }
    }
  }

  void pad_prefix() {
    while (plan_.prefix.count() < plan_.shape.prefix_rows) {
      add_source(absent, absent, 0);
      plan_.prefix.add(0, cache_.spare(), 0, 0);
    }
  }

  // The state sees the prefix and itself; the actions see the prefix, the state and each other.
  void plan_suffix() {
    while (std::ssize(samples_) < plan_.shape.batch) {
      samples_.push_back({.index = std::ssize(samples_), .first_slot = std::ssize(samples_) * cache_.stride()});
    }
    for (const Sample& s : samples_) add_suffix_row(s, 0, 1);
    for (const Sample& s : samples_) {
      for (std::int64_t i = 1; i <= config_.chunk; ++i) add_suffix_row(s, i, cache_.suffix);
    }
    if (plan_.shape.batch > 1) order_suffix();
  }

  // The rows of a sample see the same, in tiles of their own.
  void order_suffix() {
    std::vector<std::int32_t>& order = plan_.suffix.order;
    for (std::int64_t b = 0; b < plan_.shape.batch; ++b) {
      const auto action = static_cast<std::int32_t>(plan_.shape.batch + b * config_.chunk);
      order.push_back(static_cast<std::int32_t>(b));
      for (std::int32_t i = 0; i < config_.chunk; ++i) order.push_back(action + i);
      order.resize((b + 1) * suffix_places(config_), absent);
    }
  }

  // Row i of a sample's suffix, which sees its prefix and the first `seen` rows of its suffix.
  void add_suffix_row(const Sample& s, std::int64_t i, std::int64_t seen) {
    const std::int64_t own = s.first_slot + cache_.prefix;
    plan_.suffix.add(s.length() + i, own + i, s.first_slot, s.first_slot + s.length(), own, own + seen);
  }

  const Config& config_;
  const ViewGeometry& geometry_;
  const CacheLayout& cache_;
  const Presence& presence_;
  const std::int64_t tokens_;  // of a view
  std::vector<Sample> samples_;
  Plan plan_;
};

}  // namespace

void Rows::reserve(std::int64_t rows) {
  positions.reserve(rows);
  slots.reserve(rows);
  ranges.reserve(4 * rows);
}

void Rows::add(std::int64_t position, std::int64_t slot, std::int64_t begin, std::int64_t end, std::int64_t begin2,
               std::int64_t end2) {
  positions.push_back(static_cast<std::int32_t>(position));
  slots.push_back(static_cast<std::int32_t>(slot));
  for (const std::int64_t bound : {begin, end, begin2, end2}) ranges.push_back(static_cast<std::int32_t>(bound));
}

ViewGeometry view_geometry(const VisionConfig& config, std::int64_t patches) {
  ViewGeometry geometry;
  geometry.grid = std::llround(std::sqrt(static_cast<double>(patches)));
  if (geometry.grid * geometry.grid != patches || geometry.grid % config.merge != 0 || patches == 0) {
    fail(ErrorKind::input, "images: expected a square number of patches a view, a multiple of ", config.merge,
         " a side (such as 256), found ", patches);
  }
  const std::int64_t cells = geometry.grid / config.merge;
  const std::int64_t side = config.window / config.merge / config.patch;  // merged tokens of a window's side
  for (std::int64_t top = 0; top < cells; top += side) {
    for (std::int64_t left = 0; left < cells; left += side) {
      const std::int64_t bottom = std::min(top + side, cells), right = std::min(left + side, cells);
      for (std::int64_t row = top; row < bottom; ++row) {
        for (std::int64_t column = left; column < right; ++column) {
          geometry.token_order.push_back(static_cast<std::int32_t>(row * cells + column));
        }
      }
      geometry.window_sizes.push_back(static_cast<std::int32_t>((bottom - top) * (right - left) * config.unit()));
    }
  }
  return geometry;
}

CacheLayout cache_layout(const Config& config, const Limits& limits) {
  const std::int64_t per_view = limits.patches / config.vision.unit() + config.query_tokens;
  return {.prefix = limits.views * per_view + limits.text_tokens, .suffix = 1 + config.chunk, .batch = limits.batch};
}

CallShape largest_call(const CacheLayout& cache, const Limits& limits) {
  return {.views = limits.batch * limits.views, .prefix_rows = limits.batch * cache.prefix, .batch = limits.batch};
}

VisionRows vision_rows(const ViewGeometry& geometry, std::int64_t views) {
  const std::int64_t patches = geometry.patches();
  VisionRows rows;
  for (std::int64_t first = 0; first < views * patches; first += patches) {
    std::int64_t begin = first;  // of the window
    for (const std::int32_t size : geometry.window_sizes) {
      for (std::int64_t row = begin; row < begin + size; ++row) {
        rows.window.add(row - first, row, begin, begin + size);
        rows.view.add(row - first, row, first, first + patches);
      }
      begin += size;
    }
  }
  return rows;
}

std::int64_t suffix_places(const Config& config) { return Visible::places(1 + config.chunk); }

Plan make_plan(const Config& config, const ViewGeometry& geometry, const CacheLayout& cache, const CallShapes& shapes,
               const Presence& presence) {
  return Planner(config, geometry, cache, presence).make(shapes);
}

}  // namespace nervus::lingbot
