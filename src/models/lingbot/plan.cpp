#include "models/lingbot/plan.h"

#include <algorithm>
#include <cmath>

#include "core/message.h"

namespace nervus::lingbot {
namespace {

// One sample's prefix, counted: [images][queries][text].
struct Sample {
  std::int64_t index = 0;  // in the batch
  std::int64_t first_slot = 0;
  std::int64_t images = 0;  // tokens of its views
  std::int64_t queries = 0;
  std::int64_t text = 0;

  std::int64_t length() const { return images + queries + text; }
};

void plan_vision(const ViewGeometry& geometry, std::int64_t unit, const Presence& presence, Plan& plan) {
  const std::int64_t patches = geometry.patches();
  for (std::int64_t view = 0; view < presence.batch * presence.views; ++view) {
    if (!presence.image_mask[view]) continue;
    const std::int64_t first = plan.view.count();  // vision slots are rows
    std::int64_t row = first, window_begin = first;
    std::size_t window = 0;
    for (const std::int32_t token : geometry.token_order) {
      for (std::int64_t k = 0; k < unit; ++k, ++row) {
        if (row == window_begin + geometry.window_sizes[window]) window_begin += geometry.window_sizes[window++];
        plan.patches.push_back(static_cast<std::int32_t>(view * patches + token * unit + k));
        plan.window.add(row - first, row, window_begin, window_begin + geometry.window_sizes[window]);
        plan.view.add(row - first, row, first, first + patches);
      }
    }
    ++plan.views_present;
  }
}

// Images and text see images and text (in a causal prefix, up to themselves), never the queries.
void add_row(Plan& plan, const Config& config, const Sample& s, std::int64_t place) {
  const std::int64_t end = config.causal ? place + 1 : s.length();
  const std::int64_t base = s.first_slot, text = s.images + s.queries;
  if (s.queries == 0 || end <= s.images) {
    plan.prefix.add(place, base + place, base, base + end);
  } else {
    plan.prefix.add(place, base + place, base, base + s.images, base + text, base + std::max(end, text));
  }
}

// A view's queries see that view and themselves.
void add_query_row(Plan& plan, const Config& config, const Sample& s, std::int64_t view, std::int64_t place,
                   std::int64_t tokens) {
  const std::int64_t image = s.first_slot + view * tokens;
  const std::int64_t query = s.first_slot + s.images + view * config.query_tokens;
  plan.prefix.add(place, s.first_slot + place, image, image + tokens, query, query + config.query_tokens);
}

Sample count_sample(const Config& config, const ViewGeometry& geometry, const CacheLayout& cache,
                    const Presence& presence, std::int64_t b) {
  Sample s{.index = b, .first_slot = b * cache.stride()};
  for (std::int64_t v = 0; v < presence.views; ++v) {
    if (!presence.image_mask[b * presence.views + v]) continue;
    s.images += geometry.tokens();
    s.queries += config.query_tokens;
  }
  for (std::int64_t t = 0; t < presence.text; ++t) s.text += presence.token_mask[b * presence.text + t] ? 1 : 0;
  return s;
}

// The row of the vision tower's output that holds each token of a view, in raster order.
std::vector<std::int32_t> raster_places(const ViewGeometry& geometry) {
  std::vector<std::int32_t> places(geometry.token_order.size());
  for (std::size_t i = 0; i < places.size(); ++i) places[geometry.token_order[i]] = static_cast<std::int32_t>(i);
  return places;
}

void plan_images(const Config& config, const ViewGeometry& geometry, const Presence& presence,
                 const std::vector<Sample>& samples, Plan& plan) {
  const std::vector<std::int32_t> raster = raster_places(geometry);
  std::int64_t present = 0;
  for (const Sample& s : samples) {
    std::int64_t place = 0;
    for (std::int64_t v = 0; v < presence.views; ++v) {
      if (!presence.image_mask[s.index * presence.views + v]) continue;
      for (std::int64_t token = 0; token < geometry.tokens(); ++token) {
        plan.image_rows.push_back(static_cast<std::int32_t>(present * geometry.tokens() + raster[token]));
        plan.prefix_columns.push_back(
            static_cast<std::int32_t>(s.index * plan.padded_length + v * geometry.tokens() + token));
        add_row(plan, config, s, place++);
      }
      ++present;
    }
  }
}

void plan_queries(const Config& config, const ViewGeometry& geometry, const Presence& presence,
                  const std::vector<Sample>& samples, Plan& plan) {
  for (const Sample& s : samples) {
    std::int64_t view = 0, place = s.images;
    for (std::int64_t v = 0; v < presence.views; ++v) {
      if (!presence.image_mask[s.index * presence.views + v]) continue;
      for (std::int64_t j = 0; j < config.query_tokens; ++j) {
        plan.query_rows.push_back(static_cast<std::int32_t>(j));
        plan.prefix_columns.push_back(static_cast<std::int32_t>(
            s.index * plan.padded_length + presence.views * geometry.tokens() + v * config.query_tokens + j));
        add_query_row(plan, config, s, view, place++, geometry.tokens());
      }
      ++view;
    }
  }
}

void plan_text(const Config& config, const ViewGeometry& geometry, const Presence& presence,
               const std::vector<Sample>& samples, Plan& plan) {
  const std::int64_t before = presence.views * (geometry.tokens() + config.query_tokens);
  for (const Sample& s : samples) {
    std::int64_t place = s.images + s.queries;
    for (std::int64_t t = 0; t < presence.text; ++t) {
      const std::int64_t at = s.index * presence.text + t;
      if (!presence.token_mask[at]) continue;
      const std::int32_t token = presence.tokens[at];
      if (token < 0 || token >= config.vocabulary) {
        fail(ErrorKind::input, "lang_tokens[" + std::to_string(s.index) + ", " + std::to_string(t) +
                                   "]: expected a token of 0 to " + std::to_string(config.vocabulary - 1) + ", found " +
                                   std::to_string(token) + ": is the tokenizer this checkpoint's?");
      }
      plan.text_rows.push_back(token);
      plan.prefix_columns.push_back(static_cast<std::int32_t>(s.index * plan.padded_length + before + t));
      add_row(plan, config, s, place++);
    }
  }
}

// The state sees the prefix and itself; the actions see the prefix, the state and each other.
void plan_suffix(const Config& config, const CacheLayout& cache, const std::vector<Sample>& samples, Plan& plan) {
  for (const Sample& s : samples) {
    const std::int64_t own = s.first_slot + cache.prefix;
    plan.suffix.add(s.length(), own, s.first_slot, s.first_slot + s.length(), own, own + 1);
  }
  for (const Sample& s : samples) {
    const std::int64_t own = s.first_slot + cache.prefix;
    for (std::int64_t i = 1; i <= config.chunk; ++i) {
      plan.suffix.add(s.length() + i, own + i, s.first_slot, s.first_slot + s.length(), own, own + cache.suffix);
    }
  }
}

}  // namespace

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
  return {.prefix = limits.views * per_view + limits.text_tokens, .suffix = 1 + config.chunk};
}

Plan make_plan(const Config& config, const ViewGeometry& geometry, const CacheLayout& cache, const Presence& presence) {
  Plan plan{.batch = presence.batch};
  plan.padded_length = presence.views * (geometry.tokens() + config.query_tokens) + presence.text;
  std::vector<Sample> samples;
  for (std::int64_t b = 0; b < presence.batch; ++b) {
    samples.push_back(count_sample(config, geometry, cache, presence, b));
  }
  plan_vision(geometry, config.vision.unit(), presence, plan);
  plan_images(config, geometry, presence, samples, plan);
  if (config.query_tokens > 0) plan_queries(config, geometry, presence, samples, plan);
  plan_text(config, geometry, presence, samples, plan);
  plan_suffix(config, cache, samples, plan);
  return plan;
}

}  // namespace nervus::lingbot
