// The client against a real server on loopback, whose policy does what a test says.
#include "nervus/client.h"

#include <doctest/doctest.h>

#include "checkpoint/support.h"
#include "client/support.h"
#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;
using namespace std::chrono_literals;

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
  // A call ends once the loop has gone round so often meanwhile: it would not, if the loop waited for the answer.
  std::atomic<int> rounds = 0, stuck = 0;
  std::atomic<bool> over = false;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk& chunk) {
    const int enough = rounds + 20;
    if (!eventually([&] { return over || rounds >= enough; })) ++stuck;
    chunk.steps = 50;
    chunk.values.assign(100, 3);
  });
  ClientOptions options = options_for(server.port(), 10);
  options.player.request_fraction = 1;  // one after the other
  options.player.timeout_seconds = 20;
  Client client(options);
  Motion motion;
  CHECK(eventually([&] {
    if (client.wants_observation()) client.observe(look());
    motion = client.motion();
    ++rounds;
    return stuck > 0 || (motion.state == MotionState::playing && client.status().counts.taken >= 4);
  }));
  over = true;
  CHECK(motion.values == std::vector<float>{3, 3});
  CHECK(stuck == 0);
  const PlayerCounts counts = client.status().counts;
  CHECK(counts.taken >= 4);
  CHECK(counts.requests <= counts.taken + counts.stale + counts.older + counts.lost + 1);  // one is under way at a time
}

TEST_CASE("the observation's age travels with it, and the guard's order to hold is obeyed") {
  serve::ServiceOptions served;
  served.guard.joints.resize(2);
  served.guard.age_ms = 500;
  FakeServer server(
      [](const Observation&, const InferOptions&, ActionChunk& chunk) {
        chunk.steps = 150;
        chunk.values.assign(300, 3);
      },
      served);
  Client client(options_for(server.port()));
  REQUIRE(client.wait_connected(10));
  const auto now = [] { return std::chrono::steady_clock::now(); };
  CHECK(client.observe(look(), now() - 1s));
  CHECK(!client.observe(look(), now()));  // one is under way
  CHECK(eventually([&] { return client.status().counts.refused == 1; }));
  CHECK(client.status().problem == "guard_tripped: the observation is older than the robot file's observation_age_ms");
  CHECK(client.motion().state == MotionState::waiting);
  CHECK(server.metric("nervus_guard_tripped_total", "reason=\"age\"") == 1);
  CHECK(eventually([&] { return client.observe(look(), now()); }));
  CHECK(eventually([&] { return client.motion().state == MotionState::playing; }));
  CHECK(server.metric("nervus_guard_tripped_total", "reason=\"age\"") == 1);
}

TEST_CASE("an observation that cannot be asked for is refused, neither sent nor counted") {
  std::atomic<int> seen = 0;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) { ++seen; });
  ClientOptions options = options_for(server.port(), 1);
  options.player.max_age_seconds = 60;
  options.player.timeout_seconds = 20;
  Client client(options);
  REQUIRE(client.wait_connected(10));
  const auto [kind, text] = error_of([&] { client.observe(look(), std::chrono::steady_clock::now() + 1h); });
  CHECK(kind == ErrorKind::usage);
  CHECK(text.starts_with("observed: expected a moment that is not in the future, found 3"));
  Observation broken = look();
  broken.images.at("cam_high").width = 3;
  CHECK(error_of([&] { client.observe(broken); }).first == ErrorKind::input);
  CHECK(error_of([&] { client.infer(broken); }).first == ErrorKind::input);
  CHECK(client.status().counts.requests == 0);
  CHECK(client.wants_observation());
  CHECK(client.observe(look()));
  CHECK(eventually([&] { return client.status().counts.taken == 1; }));
  CHECK(seen == 1);
  CHECK(client.status().counts.requests == 1);
  CHECK(client.status().counts.lost == 0);
}

TEST_CASE("a time that cannot be waited for is refused before anything is sent") {
  std::atomic<int> seen = 0;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) { ++seen; });
  Client client(options_for(server.port()));
  REQUIRE(client.wait_connected(10));
  for (const double seconds : {static_cast<double>(INFINITY), static_cast<double>(NAN), 1e10, -1.0, 0.0, 0.0001}) {
    const auto [kind, text] = error_of([&] { client.infer(look(), seconds); });
    CHECK(kind == ErrorKind::usage);
    CHECK(text.starts_with("timeout_seconds: expected a number from 0.001 to 3600, found "));
  }
  for (const double seconds : {static_cast<double>(INFINITY), static_cast<double>(NAN), 1e10, -1.0})
    CHECK(error_of([&] {
            client.wait_connected(seconds);
          }).second.starts_with("seconds: expected a number from 0 to 3600, found "));
  CHECK(client.wait_connected(0));
  CHECK(client.infer(look(), 3600).chunk.steps == 4);
  CHECK(seen == 1);
  CHECK(client.status().connections == 1);
}

TEST_CASE("the guard's order to stop is obeyed until reset") {
  serve::ServiceOptions served;
  served.guard.joints.resize(2);
  served.guard.joints[0].state_most = 1;
  served.guard.verdict = serve::Verdict::stop;
  FakeServer server(
      [](const Observation&, const InferOptions&, ActionChunk& chunk) {
        chunk.steps = 150;
        chunk.values.assign(300, 3);
      },
      served);
  Client client(options_for(server.port()));
  REQUIRE(client.wait_connected(10));
  CHECK(client.observe(look(0)));
  CHECK(eventually([&] { return client.motion().state == MotionState::playing; }));
  CHECK(eventually([&] { return client.observe(look(2)); }));
  CHECK(eventually([&] { return client.motion().state == MotionState::stopped; }));
  CHECK(client.motion().values == std::vector<float>{3, 3});
  CHECK(!client.wants_observation());
  client.reset();
  CHECK(client.observe(look(0)));
  CHECK(eventually([&] { return client.motion().state == MotionState::playing; }));
}

TEST_CASE("infer is refused in the server's words") {
  FakeServer server([](const Observation&, const InferOptions&, ActionChunk& chunk) { chunk.values[0] = NAN; });
  Client client(options_for(server.port()));
  REQUIRE(client.wait_connected(10));
  try {
    client.infer(look());
    CHECK(false);
  } catch (const Refused& refused) {
    CHECK(refused.kind() == ErrorKind::numeric);
    CHECK(refused.code == "not_finite");
    CHECK(refused.halt == Halt::hold);
    CHECK(refused.hint == "check the checkpoint and its statistics");
  }
}

TEST_CASE("a key that is wrong is told, one that is right opens") {
  serve::ServiceOptions served;
  served.network.api_key = "0123456789";
  FakeServer server({}, served);
  ClientOptions options = options_for(server.port());
  Client without(options);
  CHECK(eventually([&] { return !without.status().problem.empty(); }));
  CHECK(without.status().problem == "127.0.0.1:" + std::to_string(server.port()) +
                                        ": the server answered 401: a key is needed: Authorization: Bearer KEY, "
                                        "Api-Key KEY, or KEY as the password of Basic");
  options.api_key = "0123456789";
  Client with(options);
  CHECK(with.wait_connected(10));
  CHECK(with.infer(look()).chunk.steps == 4);
}

TEST_CASE("a deadline that the server cannot keep is a refusal, and the next request is taken") {
  std::atomic<bool> slow = true;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) {
    while (slow) std::this_thread::sleep_for(1ms);
  });
  Client client(options_for(server.port()));
  REQUIRE(client.wait_connected(10));
  try {
    client.infer(look(), 0.05);
    CHECK(false);
  } catch (const Refused& refused) {
    CHECK(refused.kind() == ErrorKind::io);
    CHECK(refused.code == "deadline_exceeded");
  }
  slow = false;
  CHECK(client.infer(look()).chunk.steps == 4);
  CHECK(client.status().connections == 1);
}

TEST_CASE("a server that ends and comes back is found again, while the chunk plays on") {
  const FakePolicy policy = [](const Observation&, const InferOptions&, ActionChunk& chunk) {
    chunk.steps = 100;
    chunk.values.assign(200, 3);
  };
  auto server = std::make_unique<FakeServer>(policy);
  serve::ServiceOptions served;
  served.network.port = server->port();
  Client client(options_for(server->port()));
  REQUIRE(client.wait_connected(10));
  CHECK(client.observe(look()));
  CHECK(eventually([&] { return client.motion().state == MotionState::playing; }));
  server.reset();
  CHECK(eventually([&] { return !client.status().connected; }));
  CHECK(client.motion().values == std::vector<float>{3, 3});
  CHECK(eventually([&] { return client.motion().state == MotionState::holding; }));
  CHECK(client.motion().values == std::vector<float>{3, 3});
  server = std::make_unique<FakeServer>(policy, served);
  CHECK(eventually([&] {
    client.observe(look());
    return client.motion().state == MotionState::playing;
  }));
  CHECK(client.status().connections == 2);
}
