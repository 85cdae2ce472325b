// Calls that several sessions share: replies, errors and the policy's own bytes.
#include <doctest/doctest.h>

#include <cmath>

#include "checkpoint/support.h"
#include "nervus/tools.h"
#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;

namespace {

using Batch = std::span<const InferOptions>;

// Notes how large its calls are; the first one waits for the gate. `trouble` may throw for a call.
struct Shared {
  Gate begun, go;
  std::mutex mutex;
  std::vector<std::size_t> sizes;
  std::function<void(Batch)> trouble = [](Batch) {};

  std::vector<std::size_t> seen() {
    const std::lock_guard lock(mutex);
    return sizes;
  }
  void call(Batch options) {
    bool first = false;
    {
      const std::lock_guard lock(mutex);
      first = sizes.empty();
      sizes.push_back(options.size());
    }
    begun.open();
    if (first) go.wait();
    trouble(options);
  }
};

class SharedReplica final : public serve::Replica {
 public:
  SharedReplica(Shared& shared, std::unique_ptr<serve::Replica> replica)
      : shared_(shared), replica_(std::move(replica)) {}
  const PolicyInfo& info() const override { return replica_->info(); }
  ActionChunk infer(const Observation& observation, const InferOptions& options) override {
    shared_.call({&options, 1});
    return replica_->infer(observation, options);
  }
  std::vector<ActionChunk> infer_batch(std::span<const Observation> observations, Batch options) override {
    shared_.call(options);
    return replica_->infer_batch(observations, options);
  }

 private:
  Shared& shared_;
  std::unique_ptr<serve::Replica> replica_;
};

std::unique_ptr<serve::Replica> fake() {
  return std::make_unique<FakeReplica>([](const Observation&, const InferOptions& options, ActionChunk& chunk) {
    chunk.values[0] = static_cast<float>(options.seed);
  });
}

FakeServer serving(Shared& shared, std::unique_ptr<serve::Replica> replica) {
  std::vector<std::unique_ptr<serve::Replica>> all;
  all.push_back(std::make_unique<SharedReplica>(shared, std::move(replica)));
  return FakeServer({.most_together = 4, .window = std::chrono::seconds(5)}, std::move(all));
}

std::vector<float> actions_of(const Frame& frame) {
  const auto document = serve::MsgpackDocument::read(frame.payload);
  const auto actions = document.root().find("actions");
  return actions ? serve::read_numbers(*actions, "actions") : std::vector<float>{};
}

bool waits(const FakeServer& server, int requests) {
  const std::string expected = "\"waiting\":" + std::to_string(requests);
  return eventually([&] { return server.get("/status").find(expected) != std::string::npos; });
}

// Sends the requests, the first of which begins alone while the others wait to share the next call.
std::vector<Frame> exchange(FakeServer& server, Shared& shared, const std::vector<std::string>& requests) {
  std::vector<std::unique_ptr<Robot>> robots;
  for (std::size_t i = 0; i < requests.size(); ++i) robots.push_back(std::make_unique<Robot>(server));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    robots[i]->send_binary(requests[i]);
    if (i == 0) shared.begun.wait();
    else CHECK(waits(server, static_cast<int>(i)));
  }
  robots[0].reset();  // so that nobody else can join, and the window need not pass
  CHECK(eventually([&] { return server.metric("nervus_requests_total", "outcome=\"disconnected\"") == 1; }));
  shared.go.open();
  std::vector<Frame> replies;
  for (std::size_t i = 1; i < requests.size(); ++i) replies.push_back(robots[i]->receive());
  return replies;
}

}  // namespace

TEST_CASE("requests that share a call: to each session its own actions") {
  Shared shared;
  FakeServer server = serving(shared, fake());
  const std::vector<Frame> replies =
      exchange(server, shared, {observation(1), observation(2), observation(3), observation(4)});
  CHECK(shared.seen() == std::vector<std::size_t>{1, 3});
  for (std::size_t i = 0; i < replies.size(); ++i) {
    CHECK(outcome(replies[i]) == "ok " + std::to_string(i + 2));
    CHECK(actions_of(replies[i]).at(0) == static_cast<float>(i + 2));
  }
  CHECK(server.get("/metrics").find("nervus_batch_size_bucket{le=\"2\"} 1\n") != std::string::npos);
  CHECK(server.get("/metrics").find("nervus_batch_size_sum 4\n") != std::string::npos);
}

TEST_CASE("of requests that share a call only the wrong ones are refused") {
  for (const auto& [kind, code] : {std::pair(ErrorKind::input, "bad_request"),
                                   {ErrorKind::numeric, "not_finite"},
                                   {ErrorKind::internal, "internal"}}) {
    Shared shared;
    shared.trouble = [kind = kind](Batch options) {
      for (const InferOptions& one : options)
        if (one.seed == 3) throw Error(kind, "the third");
    };
    FakeServer server = serving(shared, fake());
    const std::vector<Frame> replies =
        exchange(server, shared, {observation(1), observation(2), observation(3), observation(4)});
    CHECK(outcome(replies[0]) == "ok 2");
    CHECK(outcome(replies[1]) == code);
    CHECK(outcome(replies[2]) == "ok 4");
    CHECK(shared.seen() == std::vector<std::size_t>{1, 3, 1, 1, 1});
    CHECK(server.metric("nervus_guard_tripped_total", "reason=\"not_finite\"") == (kind == ErrorKind::numeric));
  }
}

TEST_CASE("of requests that share a call the guard refuses only those that trip") {
  Shared shared;
  std::vector<std::unique_ptr<serve::Replica>> all;
  all.push_back(std::make_unique<SharedReplica>(
      shared, std::make_unique<FakeReplica>([](const Observation&, const InferOptions& options, ActionChunk& chunk) {
        if (options.seed == 3) chunk.values[5] = NAN;
      })));
  FakeServer server({.most_together = 4, .window = std::chrono::seconds(5)}, std::move(all));
  const std::vector<Frame> replies =
      exchange(server, shared, {observation(1), observation(2), observation(3), observation(4)});
  CHECK(outcome(replies[0]) == "ok 2");
  CHECK(outcome(replies[1]) == "not_finite");
  CHECK(outcome(replies[2]) == "ok 4");
}

TEST_CASE("a device that fails under a shared call: everybody is told") {
  Shared shared;
  shared.trouble = [](Batch options) {
    if (options.size() > 1) throw Error(ErrorKind::device, "cuda:0: lost");
  };
  FakeServer server = serving(shared, fake());
  for (const Frame& frame : exchange(server, shared, {observation(1), observation(2), observation(3)}))
    CHECK(outcome(frame) == "device_failed");
  server.join();
  CHECK(server.failure() == "cuda:0: lost");
  CHECK(shared.seen() == std::vector<std::size_t>{1, 2});
}

TEST_CASE("a served reply has the bytes of the policy, alone and in company" * doctest::skip(without_openmp)) {
  const TemporaryDirectory directory;
  synthesise(directory / "tiny", {.preset = "tiny", .seed = 1});
  const LoadOptions load{.threads = 1, .limits = {.batch = 4}};
  Policy policy = Policy::load(directory / "tiny", load);
  Shared shared;
  FakeServer server = serving(shared, serve::make_replica(Policy::load(directory / "tiny", load)));
  std::vector<std::string> requests;
  for (const std::uint64_t seed : {1, 2, 3, 4})
    requests.push_back(observation(seed, 0, {0.5f, static_cast<float>(seed) / 8}));
  const std::vector<Frame> replies = exchange(server, shared, requests);
  CHECK(shared.seen() == std::vector<std::size_t>{1, 3});
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const Observation seen{.images = {{"cam_high", {1, 1, {'a', 'b', 'c'}}}},
                           .state = {0.5f, static_cast<float>(i + 2) / 8},
                           .prompt = "go"};
    const auto document = serve::MsgpackDocument::read(replies[i].payload);
    const auto actions = serve::read_array(*document.root().find("actions"), "actions");
    REQUIRE(actions);
    const std::vector<float> expected = policy.infer(seen, {.seed = i + 2}).values;
    CHECK(actions->bytes.size() == expected.size() * sizeof(float));
    CHECK(std::memcmp(actions->bytes.data(), expected.data(), actions->bytes.size()) == 0);
  }
}
