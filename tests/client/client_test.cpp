// The client against a real server on loopback, whose policy does what a test says.
#include "nervus/client.h"

#include <doctest/doctest.h>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;
using namespace std::chrono_literals;

namespace {

Observation look(float position = 0) {
  return {.images = {{"cam_high", {.width = 2, .height = 1, .rgb = {1, 2, 3, 4, 5, 6}}}},
          .state = {position, 1},
          .prompt = "go"};
}

ClientOptions options_for(int port) {
  ClientOptions options{.port = port, .backoff_seconds = 0.01, .most_backoff_seconds = 0.05};
  options.player.actions_per_second = 100;
  return options;
}

template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

}  // namespace

TEST_CASE("infer: a question gets the policy's answer, with what the server says of it") {
  FakeServer server([](const Observation& seen, const InferOptions& chosen, ActionChunk& chunk) {
    CHECK(seen.images.at("cam_high").rgb == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
    CHECK(seen.images.at("cam_high").width == 2);
    CHECK(seen.state == std::vector<float>{0.5f, 1});
    CHECK(seen.prompt == "go");
    chunk.values[3] = static_cast<float>(chosen.seed);
  });
  ClientOptions options = options_for(server.port());
  options.seed = 7;
  Client client(options);
  REQUIRE(client.wait_connected(10));
  CHECK(client.server().server == "nervus");
  CHECK(client.server().family == "fake");
  CHECK(client.server().cameras == std::vector<std::string>{"cam_high"});
  CHECK(client.server().chunk_steps == 4);
  const ClientReply reply = client.infer(look(0.5f));
  CHECK(reply.chunk.steps == 4);
  CHECK(reply.chunk.dimensions == 2);
  CHECK(reply.chunk.values == std::vector<float>{0, 0, 0, 7, 0, 0, 0, 0});
  CHECK(reply.chunk.timing.at("total") == 1.0);
  CHECK(reply.seed == 7);
  CHECK(reply.server_ms.at("infer") > 0);
  CHECK(client.status().connections == 1);
}

TEST_CASE("a robot's loop plays the server's actions and never waits for them") {
  FakeServer server([](const Observation&, const InferOptions&, ActionChunk& chunk) {
    std::this_thread::sleep_for(20ms);
    chunk.steps = 50;
    chunk.values.assign(100, 3);
  });
  Client client(options_for(server.port()));
  double longest = 0;
  Motion motion;
  const Instant begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < 10s && client.status().counts.taken < 4) {
    const Instant before = std::chrono::steady_clock::now();
    if (client.wants_observation()) client.observe(look(), before);
    motion = client.motion();
    longest = std::max(longest, std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count());
    std::this_thread::sleep_for(5ms);
  }
  CHECK(motion.state == MotionState::playing);
  CHECK(motion.values == std::vector<float>{3, 3});
  const ClientStatus status = client.status();
  CHECK(status.counts.taken >= 4);
  CHECK(status.counts.requests <= status.counts.taken + 1);
  CHECK(status.latency_seconds >= 0.02);
}
