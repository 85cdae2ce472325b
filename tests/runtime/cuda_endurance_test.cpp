// Many calls of a CUDA device, alone and beside other policies: the same bits, and memory that stays as it is.
// NERVUS_TEST_CALLS in the environment says how many.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "runtime/cuda_support.h"

using namespace nervus;
using test::has_cuda;

namespace {

constexpr std::int64_t slack = std::int64_t{2} << 20;  // bytes that the driver may take or give back
constexpr int probe_every = 50, settled_after = 20;

Limits wide_limits() {
  Limits limits = test::limits_of(test::golden_inputs("base"));
  limits.batch = 3;
  return limits;
}

Policy load(Attention attention = Attention::automatic) {
  return Policy::load(test::golden("base"),
                      {.device = "cuda:0", .attention = attention, .steps = {2, 3}, .limits = wide_limits()});
}

std::vector<std::vector<float>> answers(Policy& policy, const std::vector<Inputs>& calls) {
  std::vector<std::vector<float>> all;
  for (std::size_t i = 0; i < calls.size(); ++i) all.push_back(policy.infer(calls[i], {.seed = i}).values);
  return all;
}

}  // namespace

TEST_CASE("cuda endurance: changing prompts, masks, views and batches leave memory as it is and the next call alone") {
  if (!has_cuda()) return;
  const int calls = test::calls_to_make(200);
  for (const Attention attention : {Attention::automatic, Attention::plain}) {
    Policy policy = load(attention);
    test::RandomCalls random(wide_limits(), policy.info().state_dimensions, 1);
    const Inputs probe = test::golden_inputs("base");
    const std::vector<float> expected = policy.infer(probe).values;
    std::int64_t used = 0;
    for (int call = 0; call < calls; ++call) {
      if (call == settled_after) used = device_state("cuda:0").memory_used;
      const Inputs inputs = random.draw();
      const auto seed = static_cast<std::uint64_t>(call);
      const int steps = 2 + call % 2;
      const ActionChunk chunk = policy.infer(inputs, {.steps = steps, .seed = seed});
      REQUIRE(chunk.batch == inputs.state.shape[0]);
      REQUIRE(std::ranges::all_of(chunk.values, [](float value) { return std::isfinite(value); }));
      if (random.below(3) == 0) {
        REQUIRE(policy.infer(inputs, {.steps = steps, .seed = seed, .keep_prefix = true}).values == chunk.values);
      }
      if (call % probe_every == 0) REQUIRE(policy.infer(probe).values == expected);
    }
    CHECK(std::abs(device_state("cuda:0").memory_used - used) <= slack);
  }
}

TEST_CASE("cuda endurance: policies that come and go leave no memory behind") {
  if (!has_cuda()) return;
  const Inputs probe = test::golden_inputs("base");
  load().infer(probe);  // what the process keeps is there now
  load().infer(probe);
  const std::int64_t used = device_state("cuda:0").memory_used;
  for (int round = 0; round < 5; ++round) load().infer(probe);
  CHECK(device_state("cuda:0").memory_used - used <= slack);
}

TEST_CASE("cuda endurance: what a load's progress calls may end another policy of the device") {
  if (!has_cuda()) return;
  const Inputs probe = test::golden_inputs("base");
  std::optional<Policy> other = load();
  const std::size_t size = other->infer(probe).values.size();
  Policy policy = Policy::load(
      test::golden("base"),
      {.device = "cuda:0", .steps = {2, 3}, .limits = wide_limits(), .progress = [&](auto&&...) { other.reset(); }});
  CHECK_FALSE(other);
  const std::vector<float> values = policy.infer(probe).values;
  CHECK(values.size() == size);
  CHECK(std::ranges::all_of(values, [](float value) { return std::isfinite(value); }));
}

TEST_CASE("cuda endurance: two policies of a checkpoint that take turns answer as alone, to the last bit") {
  if (!has_cuda()) return;
  Policy one = load();
  test::RandomCalls random(wide_limits(), one.info().state_dimensions, 2);
  std::vector<Inputs> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(random.draw());
  const auto alone = answers(one, calls);
  Policy two = load();
  const auto other_alone = answers(two, calls);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    CHECK(one.infer(calls[i], {.seed = i}).values == alone[i]);
    CHECK(two.infer(calls[i], {.seed = i}).values == other_alone[i]);
    const std::size_t back = calls.size() - 1 - i;
    CHECK(one.infer(calls[back], {.seed = back}).values == alone[back]);
  }
  Policy exact =
      Policy::load(test::golden("base"),
                   {.device = "cuda:0", .precision = Precision::f32, .steps = {2, 3}, .limits = wide_limits()});
  answers(exact, calls);
  CHECK(answers(one, calls) == alone);
  // Each chose its products for itself, so that the last bits of the two may differ.
  for (std::size_t i = 0; i < calls.size(); ++i) {
    double product = 0, a = 0, b = 0;
    for (std::size_t k = 0; k < alone[i].size(); ++k) {
      product += static_cast<double>(alone[i][k]) * other_alone[i][k];
      a += static_cast<double>(alone[i][k]) * alone[i][k];
      b += static_cast<double>(other_alone[i][k]) * other_alone[i][k];
    }
    CHECK(product / std::sqrt(a * b) > 0.999);
  }
}
