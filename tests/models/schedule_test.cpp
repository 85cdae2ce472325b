#include "models/lingbot/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

#include "checkpoint/support.h"

using namespace nervus;
using namespace nervus::lingbot;

TEST_CASE("the exact grid runs from 1 to 1/N in N equal steps") {
  for (const int n : {1, 7, 10, 25, 50, 1000}) {
    const std::vector<Step> steps = make_schedule(n, TimeGrid::exact);
    REQUIRE(steps.size() == static_cast<std::size_t>(n));
    CHECK(steps.front().t == 1.0f);
    CHECK(steps.back().t == doctest::Approx(1.0 / n).epsilon(1e-6));
    CHECK(steps.back().dt == 1.0f / static_cast<float>(n));
  }
  CHECK(make_schedule(10, TimeGrid::exact)[7].t == 0.3f);
}

TEST_CASE("the bf16 grid drifts as the public implementation's does") {
  const std::pair<int, std::size_t> counts[] = {{5, 5},   {10, 10}, {20, 20}, {25, 25},
                                                {29, 29}, {30, 29}, {40, 41}, {50, 51}};
  for (const auto& [n, count] : counts) CHECK(make_schedule(n, TimeGrid::bf16_accumulated).size() == count);
  const std::vector<Step> steps = make_schedule(25, TimeGrid::bf16_accumulated);
  CHECK(steps.back().t == doctest::Approx(0.0576).epsilon(1e-3));
  CHECK(steps.back().dt == doctest::Approx(0.04).epsilon(2e-3));
}

TEST_CASE("steps that bfloat16 cannot tell from none are refused") {
  CHECK(make_schedule(most_bf16_steps, TimeGrid::bf16_accumulated).size() > 100);
  const auto [kind, message] = test::error_of([] { make_schedule(most_bf16_steps + 1, TimeGrid::bf16_accumulated); });
  CHECK(kind == ErrorKind::usage);
  CHECK(message ==
        "steps: expected at most 510 for the time grid bf16-accumulated, since a bfloat16 cannot tell shorter steps "
        "from none, found 511: take fewer, or the exact grid");
}

TEST_CASE("the time embedding is sine and cosine at periods from 0.004 to 4") {
  const std::vector<float> e = time_embedding({0.25f, 0.0f}, 8);
  REQUIRE(e.size() == 16);
  CHECK(e[3] == doctest::Approx(std::sin(2 * M_PI * 0.25 / 4)).epsilon(1e-5));
  CHECK(e[7] == doctest::Approx(std::cos(2 * M_PI * 0.25 / 4)).epsilon(1e-5));
  CHECK(e[0] == doctest::Approx(std::sin(2 * M_PI * 0.25 / 0.004)).epsilon(1e-3));
  for (int i = 0; i < 4; ++i) {
    CHECK(e[8 + i] == 0.0f);
    CHECK(e[12 + i] == 1.0f);
  }
}
