#include "preprocess/normalize.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "preprocess/support.h"

using namespace nervus;

namespace {

const std::string text = R"({"count": 3, "norm_stats": {
  "observation.images.cam_high": {"mean": [[[0.5]]]},
  "joint": {"mean": [1.0, -2.0], "std": [0.5, 0.0], "q01": [-1, -3], "q99": [3, -3], "q02": [-0.5, -2], "q98": [2.5, 0],
            "min": [-4, -8], "max": [4, 8], "count": [7]}}})";

// y of x = (2, -2) by hand, e = 1e-6.
struct Case {
  const char* type;
  double first, second;
};

}  // namespace

TEST_CASE("every type normalises by its formula and back") {
  const NormStats statistics = parse_norm_stats(text, "norm_stats.json");
  const std::vector<StatisticsColumn> columns = {{"joint", 0}, {"joint", 1}};
  const Case cases[] = {
      {"identity", 2.0, -2.0},
      {"meanstd", 1.0 / 0.500001, 0.0},
      {"std", 2.0 / 0.500001, -2e6},
      {"bounds_99", 3.0 / 4.000001 * 2 - 1, 1.0 / 1e-6 * 2 - 1},
      {"bounds_99_woclip", 3.0 / 4.000001 * 2 - 1, 1.0 / 1e-6 * 2 - 1},
      {"bounds_98", 2.5 / 3.000001 * 2 - 1, -1.0},
      {"bounds_98_woclip", 2.5 / 3.000001 * 2 - 1, -1.0},
      {"minmax", 6.0 / 8.000001 * 2 - 1, 6.0 / 16.000001 * 2 - 1},
  };
  for (const Case& expected : cases) {
    CAPTURE(expected.type);
    const Normalization type = normalization_from_name(expected.type);
    const Normalizer normalizer(statistics, columns, type);
    REQUIRE(normalizer.dimensions() == 2);
    const float x[2] = {2.0f, -2.0f};
    float y[2], back[2];
    normalizer.normalize(x, y);
    CHECK(y[0] == static_cast<float>(expected.first));
    CHECK(y[1] == doctest::Approx(expected.second).epsilon(1e-6));
    normalizer.unnormalize(y, back);
    CHECK(back[0] == doctest::Approx(2.0).epsilon(1e-6));
    CHECK(back[1] == doctest::Approx(-2.0).epsilon(1e-6));
  }
}

TEST_CASE("values outside the bounds are not clipped") {
  const NormStats statistics = parse_norm_stats(text, "norm_stats.json");
  const std::vector<StatisticsColumn> columns = {{"joint", 0}, {"joint", 1}};
  const Normalizer normalizer(statistics, columns, Normalization::bounds_99);
  const float x[2] = {11.0f, -3.0f};
  float y[2];
  normalizer.normalize(x, y);
  CHECK(y[0] == doctest::Approx(5.0));
}

TEST_CASE("columns may be taken in any order and from several features") {
  const NormStats statistics = parse_norm_stats(
      R"({"norm_stats": {"arm": {"mean": [10, 20], "std": [1, 1]}, "hand": {"mean": [30], "std": [2]}}})", "s.json");
  const std::vector<StatisticsColumn> columns = {{"arm", 1}, {"hand", 0}, {"arm", 0}};
  const Normalizer normalizer(statistics, columns, Normalization::meanstd);
  const float y[3] = {0.0f, 1.0f, -1.0f};
  float x[3];
  normalizer.unnormalize(y, x);
  CHECK(x[0] == 20.0f);
  CHECK(x[1] == doctest::Approx(32.0));
  CHECK(x[2] == doctest::Approx(9.0));
}
