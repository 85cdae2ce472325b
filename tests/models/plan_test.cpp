#include "models/lingbot/plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "checkpoint/support.h"

using namespace nervus;
using namespace nervus::lingbot;

namespace {

Config small() {
  Config c;
  c.vocabulary = 10;
  c.chunk = 2;
  return c;
}

// Two samples of two views of 16 patches (4 tokens) and three text tokens: the first lacks its second view and has one
// text token; the second has everything.
Presence two_samples() {
  return {.batch = 2,
          .views = 2,
          .text = 3,
          .image_mask = {1, 0, 1, 1},
          .token_mask = {1, 0, 0, 1, 1, 1},
          .tokens = {7, -1, 99, 1, 2, 3}};
}

Plan plan_of(const Config& config, const Presence& presence, std::int64_t granularity = 1) {
  const Limits limits{.batch = 2, .views = 2, .patches = 16, .text_tokens = 3};
  const CacheLayout cache = cache_layout(config, limits);
  return make_plan(config, view_geometry(config.vision, 16), cache,
                   CallShapes(largest_call(cache, limits), granularity), presence);
}

// The slots that a row sees.
std::set<std::int32_t> seen(const Rows& rows, std::size_t row) {
  std::set<std::int32_t> slots;
  for (const std::size_t pair : {row * 4, row * 4 + 2}) {
    for (std::int32_t slot = rows.ranges[pair]; slot < rows.ranges[pair + 1]; ++slot) slots.insert(slot);
  }
  return slots;
}

std::set<std::int32_t> range(std::int32_t begin, std::int32_t end) {
  std::set<std::int32_t> slots;
  for (std::int32_t slot = begin; slot < end; ++slot) slots.insert(slot);
  return slots;
}

std::vector<std::int32_t> behind(const std::vector<std::int32_t>& values, std::ptrdiff_t begin) {
  return {values.begin() + begin, values.end()};
}

}  // namespace

TEST_CASE("windows of a whole number of sides cover every token once, in raster order inside") {
  const ViewGeometry g = view_geometry(VisionConfig{}, 256);
  CHECK(g.tokens() == 64);
  CHECK(g.window_sizes == std::vector<std::int32_t>{64, 64, 64, 64});
  CHECK(std::vector<std::int32_t>(g.token_order.begin(), g.token_order.begin() + 6) ==
        std::vector<std::int32_t>{0, 1, 2, 3, 8, 9});
  std::vector<std::int32_t> all(64);
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::int32_t> sorted = g.token_order;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == all);
}

TEST_CASE("windows at the edge are smaller") {
  const ViewGeometry g = view_geometry(VisionConfig{}, 144);
  CHECK(g.window_sizes == std::vector<std::int32_t>{64, 32, 32, 16});
  CHECK_THROWS_AS(view_geometry(VisionConfig{}, 255), Error);
  CHECK_THROWS_AS(view_geometry(VisionConfig{}, 9), Error);
  CHECK_THROWS_AS(view_geometry(VisionConfig{}, 0), Error);
}

TEST_CASE("views and tokens that are not there make no rows") {
  const Plan plan = plan_of(small(), two_samples());
  CHECK(plan.shape.views == 3);
  CHECK(plan.patches.size() == 3 * 16);
  CHECK(plan.patches[0] == 0);
  CHECK(plan.patches[16] == 32);  // sample 1, view 0: the missing view's patches are skipped
  CHECK(plan.text_rows[11] == -1);
  CHECK(behind(plan.text_rows, 12) == std::vector<std::int32_t>{7, 1, 2, 3});
  CHECK(plan.prefix.count() == 4 + 8 + 4);
  CHECK(plan.padded_length == 11);
  CHECK(plan.prefix_columns[4] == 11);    // sample 1's first image token
  CHECK(plan.prefix_columns[12] == 8);    // sample 0's text token stands behind both views
  CHECK(plan.prefix.positions[12] == 4);  // ... but its position counts valid tokens only
}

TEST_CASE("a prefix row sees all of its own sample and nothing else") {
  const Plan plan = plan_of(small(), two_samples());
  const std::int32_t stride = 11 + 3;
  for (std::size_t row = 0; row < 16; ++row) {
    const bool first = row < 4 || row == 12;
    CHECK(seen(plan.prefix, row) == (first ? range(0, 5) : range(stride, stride + 11)));
  }
}

TEST_CASE("a causal row sees what stands before it and itself") {
  Config config = small();
  config.causal = true;
  const Plan plan = plan_of(config, two_samples());
  CHECK(seen(plan.prefix, 0) == range(0, 1));
  CHECK(seen(plan.prefix, 3) == range(0, 4));
  CHECK(seen(plan.prefix, 12) == range(0, 5));
  CHECK(seen(plan.prefix, 4) == range(14, 15));
  CHECK(seen(plan.prefix, 15) == range(14, 25));
}

TEST_CASE("the suffix of several samples is ordered into tiles of one sample each, every row once") {
  for (const std::int64_t granularity : {1, 16}) {
    const Plan plan = plan_of(small(), two_samples(), granularity);
    const std::vector<std::int32_t>& order = plan.suffix.order;
    CHECK(std::ssize(order) == 2 * suffix_places(small()));
    CHECK(order.front() == 0);
    std::multiset<std::int32_t> rows;
    for (std::size_t place = 0; place < order.size(); ++place) {
      if (order[place] < 0) continue;
      rows.insert(order[place]);
      const auto sample = static_cast<std::int32_t>(place) / static_cast<std::int32_t>(suffix_places(small()));
      CHECK(plan.suffix.slots[static_cast<std::size_t>(order[place])] / (11 + 3) == sample);
    }
    CHECK(rows == std::multiset<std::int32_t>{0, 1, 2, 3, 4, 5});
  }
  Presence one = two_samples();
  one.batch = 1;
  CHECK(plan_of(small(), one).suffix.order.empty());
  Config longer = small();
  for (const auto& [chunk, places] : {std::pair{63, 64}, {64, 128}}) {
    longer.chunk = chunk;
    CHECK(suffix_places(longer) == places);
  }
}

TEST_CASE("depth queries see their view and themselves, and nobody sees them") {
  Config config = small();
  config.query_tokens = 2;
  for (const bool causal : {false, true}) {
    config.causal = causal;
    const Limits limits{.batch = 2, .views = 2, .patches = 16, .text_tokens = 3};
    const CacheLayout cache = cache_layout(config, limits);
    CHECK(cache.prefix == 2 * (4 + 2) + 3);
    const Plan plan = plan_of(config, two_samples());
    CHECK(behind(plan.query_rows, 11) == std::vector<std::int32_t>{-1, 0, 1, 0, 1, 0, 1, -1, -1, -1, -1});
    // Rows: 12 image tokens, 6 queries, 4 text tokens. Sample 1 begins at slot `base`: 8 images, 4 queries, 3 text.
    const auto base = static_cast<std::int32_t>(cache.stride());
    const std::set<std::int32_t> second_view = [&] {
      auto slots = range(base + 4, base + 8);
      slots.merge(range(base + 10, base + 12));
      return slots;
    }();
    CHECK(seen(plan.prefix, 16) == second_view);  // the same, causal or not
    auto text = range(base, base + 8);
    text.merge(range(base + 12, base + (causal ? 13 : 15)));
    CHECK(seen(plan.prefix, 19) == text);
    CHECK(plan.prefix.positions[19] == 12);
    if (!causal) {
      auto image = range(base, base + 8);
      image.merge(range(base + 12, base + 15));
      CHECK(seen(plan.prefix, 4) == image);
    }
  }
}

TEST_CASE("the state sees the prefix and itself, actions see the prefix and the whole suffix") {
  const Plan plan = plan_of(small(), two_samples());
  REQUIRE(plan.suffix.count() == 2 + 4);
  auto state = range(0, 5);
  state.insert(11);
  CHECK(seen(plan.suffix, 0) == state);
  auto action = range(14, 25);
  action.merge(range(25, 28));
  CHECK(seen(plan.suffix, 4) == action);
  CHECK(plan.suffix.positions == std::vector<std::int32_t>{5, 11, 6, 7, 12, 13});
  CHECK(plan.suffix.slots == std::vector<std::int32_t>{11, 25, 12, 13, 26, 27});
}

TEST_CASE("vision rows see their window, or their view") {
  Config config = small();
  config.vision.window = 28;  // one token a window
  const VisionRows rows = vision_rows(view_geometry(config.vision, 16), 3);
  CHECK(seen(rows.window, 5) == range(4, 8));
  CHECK(seen(rows.view, 5) == range(0, 16));
  CHECK(seen(rows.window, 47) == range(44, 48));
  CHECK(seen(rows.view, 47) == range(32, 48));
  CHECK(rows.view.positions[47] == 15);
}

TEST_CASE("rows that fill up a graph's extent are written where nobody reads, and see nothing") {
  const Plan plan = plan_of(small(), two_samples(), 6);
  CHECK(plan.shape.prefix_rows == 18);
  REQUIRE(plan.prefix.count() == 18);
  CHECK(plan.prefix.slots[16] == 2 * (11 + 3));
  CHECK(seen(plan.prefix, 17).empty());
  CHECK(plan.text_rows[17] == 0);
  CHECK(plan.image_rows[17] == -1);
  CHECK(plan.prefix_columns.size() == 16);
}

TEST_CASE("an empty prefix leaves the suffix to itself") {
  Presence nothing{.batch = 1, .views = 1, .text = 1, .image_mask = {0}, .token_mask = {0}, .tokens = {0}};
  const Plan plan = plan_of(small(), nothing);
  CHECK(plan.prefix.count() == 0);
  CHECK(seen(plan.suffix, 0) == range(11, 12));
  CHECK(seen(plan.suffix, 1) == range(11, 14));
}

TEST_CASE("a token outside the vocabulary is refused, padding is never looked at") {
  Presence presence = two_samples();
  presence.tokens[3] = 10;
  const auto [kind, message] = test::error_of([&] { plan_of(small(), presence); });
  CHECK(kind == ErrorKind::input);
  CHECK(message == "lang_tokens[1, 0]: expected a token of 0 to 9, found 10: is the tokenizer this checkpoint's?");
}
