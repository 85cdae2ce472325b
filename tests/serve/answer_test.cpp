// How one job is answered, without a server around it.
#include <doctest/doctest.h>

#include <cmath>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;
using namespace std::chrono_literals;

namespace {

// A job that came so long ago, may wait so long from now, and whose observation was sent at that age.
serve::Job job_of(serve::Clock::duration waited, serve::Clock::duration left, double age_ms) {
  const auto now = serve::Clock::now();
  serve::Job job{.arrived = now - waited, .deadline = now + left};
  job.request.state = {0, 0};
  job.request.age_ms = age_ms;
  return job;
}

std::string code_of(const serve::Job& job, int& calls) {
  FakeReplica replica([&](const Observation&, const InferOptions&, ActionChunk&) { ++calls; });
  serve::GuardLimits limits;
  limits.age_ms = 60000;
  serve::Metrics metrics;
  const auto answers = serve::answer(replica, serve::Guard(limits), std::span(&job, 1), metrics);
  return answers.front().refusal ? answers.front().refusal->code + ": " + answers.front().refusal->message : "ok";
}

// Of a call of several it loses one.
class Miscounting final : public serve::Replica {
 public:
  Miscounting() { info_.limits.batch = 2; }
  const PolicyInfo& info() const override { return info_; }
  ActionChunk infer(const Observation&, const InferOptions&) override {
    return {.steps = 1, .dimensions = 1, .values = {0.0f}};
  }
  std::vector<ActionChunk> infer_batch(std::span<const Observation> observations,
                                       std::span<const InferOptions> options) override {
    return {infer(observations[0], options[0])};
  }

 private:
  PolicyInfo info_;
};

}  // namespace

TEST_CASE("where a call of several has another number of chunks, each is computed alone") {
  Miscounting replica;
  serve::Metrics metrics;
  const std::vector<serve::Job> jobs = {job_of(0s, 1h, 0), job_of(0s, 1h, 0)};
  const auto answers = serve::answer(replica, serve::Guard({}), jobs, metrics);
  REQUIRE(answers.size() == 2);
  for (const serve::Answer& answer : answers) CHECK_FALSE(answer.refusal);
}

TEST_CASE("where a call of several fails, what has grown too old meanwhile is not computed alone") {
  const std::vector<serve::Job> jobs = {job_of(0s, 1h, 0), job_of(0s, 1s, 0), job_of(0s, 1h, 59000)};
  // Fails when the second's deadline and the third's age are over.
  class Failing final : public serve::Replica {
   public:
    explicit Failing(serve::Clock::time_point until) : until_(until) { info_.limits.batch = 3; }
    const PolicyInfo& info() const override { return info_; }
    ActionChunk infer(const Observation&, const InferOptions&) override {
      ++calls;
      return {.steps = 1, .dimensions = 1, .values = {0.0f}};
    }
    std::vector<ActionChunk> infer_batch(std::span<const Observation>, std::span<const InferOptions>) override {
      std::this_thread::sleep_until(until_);
      throw Error(ErrorKind::numeric, "one of them");
    }
    int calls = 0;

   private:
    const serve::Clock::time_point until_;
    PolicyInfo info_;
  };
  Failing replica(std::max(jobs[1].deadline, jobs[2].arrived + 1s) + 1ms);
  serve::GuardLimits limits;
  limits.age_ms = 60000;
  serve::Metrics metrics;
  const auto answers = serve::answer(replica, serve::Guard(limits), jobs, metrics);
  REQUIRE(answers.size() == 3);
  CHECK_FALSE(answers[0].refusal);
  REQUIRE(answers[1].refusal);
  CHECK(answers[1].refusal->code == "deadline_exceeded");
  REQUIRE(answers[2].refusal);
  CHECK(answers[2].refusal->code == "guard_tripped");
  CHECK(replica.calls == 1);
  CHECK(metrics.value("nervus_guard_tripped_total", "reason=\"age\"") == 1);
}

TEST_CASE("a replica whose first call gives what is not finite is not served") {
  FakeReplica good{FakePolicy()};
  serve::warm(good);
  FakeReplica bad([](const Observation&, const InferOptions&, ActionChunk& chunk) { chunk.values[5] = NAN; });
  CHECK_THROWS_WITH_AS(serve::warm(bad),
                       "the first call: expected finite actions: check the checkpoint and its statistics", Error);
}

TEST_CASE("a job whose deadline has passed is not run, whoever noticed first") {
  int calls = 0;
  CHECK(code_of(job_of(1s, -1ms, 0), calls).starts_with("deadline_exceeded: "));
  CHECK(calls == 0);
  CHECK(code_of(job_of(1s, 1h, 0), calls) == "ok");
  CHECK(calls == 1);
}

TEST_CASE("an observation ages while it waits") {
  int calls = 0;
  CHECK(code_of(job_of(0s, 1h, 30000), calls) == "ok");
  CHECK(code_of(job_of(31s, 1h, 30000), calls).starts_with("guard_tripped: the observation is older"));
  CHECK(code_of(job_of(61s, 1h, 0), calls).starts_with("guard_tripped: the observation is older"));
  CHECK(calls == 1);
}
