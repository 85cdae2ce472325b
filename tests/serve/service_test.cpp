#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;
using namespace std::chrono_literals;

namespace {

serve::ServiceOptions options() { return {}; }

// Behind the pings.
Frame receive_reply(Robot& robot) {
  Frame frame = robot.receive();
  while (frame.opcode == 9) frame = robot.receive();
  return frame;
}

// A server and its only session, which reads nothing of many large replies: they wait for the first, until `answer()`.
struct Deafness {
  Deafness(std::chrono::milliseconds ping, std::chrono::milliseconds stall)
      : server(answering(), patience(ping, stall)) {
    robot.send_binary(observation(1));
    // The name of a camera that nobody knows comes back, its bytes as six characters each.
    serve::MsgpackWriter writer;
    writer.map(1).text("observation/" + std::string(60000, '\x01')).map(4);
    writer.binary("__ndarray__").boolean(true).binary("data").binary("abc").binary("dtype").text("|u1");
    writer.binary("shape").array(3).integer(1).integer(1).integer(3);
    const std::string request = writer.take();
    constexpr int requests = 100;
    for (int i = 0; i < requests; ++i) robot.send_binary(request);
    CHECK(eventually([&] { return server.metric("nervus_requests_total", "outcome=\"bad_request\"") == requests; }));
  }
  void answer() { go.open(); }
  bool is_over() const { return server.get("/status").find("\"sessions\":[]") != std::string::npos; }

  FakePolicy answering() {
    return [this](const Observation&, const InferOptions&, ActionChunk&) { go.wait(); };
  }
  static serve::ServiceOptions patience(std::chrono::milliseconds ping, std::chrono::milliseconds stall) {
    serve::ServiceOptions hasty;
    hasty.network.ping = ping;
    hasty.network.pong = 1h;
    hasty.network.stall = stall;
    return hasty;
  }

  Gate go;
  FakeServer server;
  Robot robot{server, 2048};
};

}  // namespace

TEST_CASE("a request gets its reply, with its seed and the policy's actions") {
  FakeServer server([](const Observation& seen, const InferOptions& chosen, ActionChunk& chunk) {
    CHECK(seen.images.at("cam_high").rgb == std::vector<std::uint8_t>{'a', 'b', 'c'});
    CHECK(seen.prompt == "go");
    CHECK(chosen.steps == 10);
    chunk.values[3] = static_cast<float>(chosen.seed);
  });
  Robot robot(server);
  for (const std::uint64_t seed : {5, 6}) {
    robot.send_binary(observation(seed));
    const Frame frame = robot.receive();
    CHECK(outcome(frame) == "ok " + std::to_string(seed));
    const auto document = serve::MsgpackDocument::read(frame.payload);
    const auto actions = serve::read_array(*document.root().find("actions"), "actions");
    REQUIRE(actions);
    CHECK(actions->shape == Shape{4, 2});
    float value = 0;
    std::memcpy(&value, actions->bytes.data() + 12, 4);
    CHECK(value == static_cast<float>(seed));
    CHECK(document.root().find("server_timing")->find("prev_total_ms").has_value() == (seed == 6));
  }
  CHECK(server.metric("nervus_requests_total", "outcome=\"ok\"") == 2);
  CHECK(server.metric("nervus_stage_seconds", "stage=\"total\"") == 2);
}

TEST_CASE("values that are not finite never reach a reply, wherever they arise") {
  const float wrong_values[] = {NAN, -NAN, INFINITY, -INFINITY};
  struct Stage {
    const char* name;
    std::function<void(ActionChunk&, float)> inject;
  };
  for (const Stage& stage : {Stage{"normalised", [](ActionChunk&, float) { throw Error(ErrorKind::numeric, "nan"); }},
                             Stage{"first value", [](ActionChunk&chunk, float wrong) { chunk.values.front() = wrong; }},
                             Stage{"last value", [](ActionChunk&chunk, float wrong) { chunk.values.back() = wrong; }}})
    for (const float wrong : wrong_values) {
      CAPTURE(stage.name);
      FakeServer server(
          [&](const Observation&, const InferOptions&, ActionChunk& chunk) { stage.inject(chunk, wrong); });
      Robot robot(server);
      robot.send_binary(observation());
      const Frame frame = robot.receive();
      CHECK(outcome(frame) == "not_finite");
      CHECK(nlohmann::json::parse(frame.payload)["error"]["verdict"] == "hold");
      CHECK(server.metric("nervus_guard_tripped_total", "reason=\"not_finite\"") == 1);
    }
  FakeServer server;
  Robot robot(server);
  for (const float wrong : wrong_values) {
    robot.send_binary(observation(0, 0, {0, wrong}));
    CHECK(outcome(robot.receive()) == "bad_request");
  }
  robot.send_binary(observation(1));
  CHECK(outcome(robot.receive()) == "ok 1");
}

TEST_CASE("the guard's verdict takes the place of actions") {
  serve::ServiceOptions with_guard = options();
  with_guard.guard.joints = {{.name = "a", .most = 1, .jump = 2}, {.name = "b"}};
  with_guard.guard.verdict = serve::Verdict::stop;
  float first = 0;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk& chunk) { chunk.values[0] = first; },
                    with_guard);
  Robot robot(server);
  first = 1.5f;
  robot.send_binary(observation());
  Frame frame = robot.receive();
  CHECK(outcome(frame) == "ok 0");
  const auto document = serve::MsgpackDocument::read(frame.payload);
  CHECK(document.root().find("guard")->find("clamped")->number() == 1);
  CHECK(document.root().find("guard")->find("max_excess")->number() == 0.5);
  first = 3;
  robot.send_binary(observation());
  frame = robot.receive();
  CHECK(outcome(frame) == "guard_tripped");
  CHECK(nlohmann::json::parse(frame.payload)["error"]["verdict"] == "stop");
  robot.send_binary(observation(0, 0, {1, 2, 3}));
  CHECK(outcome(robot.receive()) == "guard_tripped");
  CHECK(server.metric("nervus_guard_tripped_total", "reason=\"jump\"") == 1);
  CHECK(server.metric("nervus_guard_tripped_total", "reason=\"shape\"") == 1);
}

TEST_CASE("a refusal carries its request's id, also where the request is wrong") {
  FakeServer server;
  Robot robot(server);
  robot.send_binary(serve::MsgpackWriter().map(2).text("prompt").text("go").text("request_id").text("a7").take());
  const Frame frame = robot.receive();
  CHECK(outcome(frame) == "bad_request");
  CHECK(nlohmann::json::parse(frame.payload)["error"]["request_id"] == "a7");
}

TEST_CASE("what the policy throws: its words only where they are the client's affair") {
  std::optional<Error> error;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) { throw *error; });
  Robot robot(server);
  error.emplace(ErrorKind::input, "state: expected 14 values, found 2");
  robot.send_binary(observation());
  Frame frame = robot.receive();
  CHECK(outcome(frame) == "bad_request");
  CHECK(nlohmann::json::parse(frame.payload)["error"]["message"] == error->what());
  error.emplace(ErrorKind::checkpoint, "/secret/path: no tokenizer");
  robot.send_binary(observation());
  frame = robot.receive();
  CHECK(outcome(frame) == "internal");
  CHECK(frame.payload.find("secret") == std::string::npos);
}

TEST_CASE("pings, health and metrics are answered while a call runs") {
  Gate begun, go;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) {
    begun.open();
    go.wait();
  });
  Robot robot(server);
  robot.send_binary(observation(3));
  begun.wait();
  robot.send(Peer::frame(0x89, "are you there"));
  const Frame pong = robot.receive();
  CHECK(pong.opcode == 10);
  CHECK(pong.payload == "are you there");
  CHECK(server.get("/healthz") == "200 OK\n");
  CHECK(server.get("/readyz") == "200 ready\n");
  CHECK(server.get("/metrics").find("nervus_running 1\n") != std::string::npos);
  CHECK(server.get("/status").find("\"running\":1") != std::string::npos);
  CHECK(server.get("/").starts_with("200 <!doctype html>"));
  CHECK(server.get("/nothing").starts_with("404 "));
  go.open();
  CHECK(outcome(robot.receive()) == "ok 3");
}

TEST_CASE("a session that runs ahead: the newest wins, replies keep their order") {
  Gate begun, go;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) {
    begun.open();
    go.wait();
  });
  Robot robot(server);
  robot.send_binary(observation(1));
  begun.wait();
  for (const std::uint64_t seed : {2, 3, 4}) robot.send_binary(observation(seed));
  CHECK(eventually([&] { return server.metric("nervus_requests_total", "outcome=\"superseded\"") == 2; }));
  go.open();
  for (const char* expected : {"ok 1", "superseded", "superseded", "ok 4"}) CHECK(outcome(robot.receive()) == expected);
}

TEST_CASE("more requests than may wait are refused at once, with a time to try again") {
  Gate begun, go;
  serve::ServiceOptions few = options();
  few.most_waiting = 1;
  FakeServer server(
      [&](const Observation&, const InferOptions&, ActionChunk&) {
        begun.open();
        go.wait();
      },
      few);
  Robot running(server), waiting(server), refused(server);
  running.send_binary(observation(1));
  begun.wait();
  waiting.send_binary(observation(2));
  CHECK(eventually([&] { return server.get("/status").find("\"waiting\":1") != std::string::npos; }));
  refused.send_binary(observation(3));
  const Frame frame = refused.receive();
  CHECK(outcome(frame) == "overloaded");
  CHECK(nlohmann::json::parse(frame.payload)["error"]["retry_after_ms"].get<double>() > 0);
  go.open();
  CHECK(outcome(running.receive()) == "ok 1");
  CHECK(outcome(waiting.receive()) == "ok 2");
  refused.send_binary(observation(4));
  CHECK(outcome(refused.receive()) == "ok 4");
}

TEST_CASE("a request is answered by its deadline, and never run behind it") {
  Gate begun, go;
  std::atomic<int> calls = 0;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) {
    ++calls;
    begun.open();
    go.wait();
  });
  Robot running(server), waiting(server);
  running.send_binary(observation(1, 2000));
  begun.wait();
  waiting.send_binary(observation(2, 50));
  const auto started = std::chrono::steady_clock::now();
  CHECK(outcome(waiting.receive()) == "deadline_exceeded");
  CHECK(outcome(running.receive()) == "deadline_exceeded");
  CHECK(std::chrono::steady_clock::now() - started < 5s);
  go.open();
  running.send_binary(observation(3));
  CHECK(outcome(running.receive()) == "ok 3");
  CHECK(calls == 2);
  CHECK(server.metric("nervus_deadline_exceeded_total") == 2);
}

TEST_CASE("two replicas compute at the same time") {
  std::atomic<int> inside = 0;
  Gate both;
  FakeServer server(
      [&](const Observation&, const InferOptions&, ActionChunk&) {
        if (++inside == 2) both.open();
        both.wait();
      },
      options(), 2);
  Robot first(server), second(server);
  first.send_binary(observation(1));
  second.send_binary(observation(2));
  CHECK(outcome(first.receive()) == "ok 1");
  CHECK(outcome(second.receive()) == "ok 2");
  CHECK(inside == 2);
  for (const char* replica : {"replica=\"0\"", "replica=\"1\""})
    CHECK(server.metric("nervus_replica_requests_total", replica) == 1);
}

TEST_CASE("stop: what is under way is finished, new requests are refused, sessions close with 1001") {
  Gate begun, go;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) {
    begun.open();
    go.wait();
  });
  Robot robot(server), idle(server);
  robot.send_binary(observation(1));
  begun.wait();
  server.stop();
  CHECK(eventually([&] { return server.get("/livez").empty(); }));  // nothing is accepted any more
  idle.send_binary(observation(2));
  CHECK(outcome(idle.receive()) == "draining");
  go.open();
  CHECK(outcome(robot.receive()) == "ok 1");
  CHECK(outcome(robot.receive()) == "closed 1001");
  CHECK(outcome(idle.receive()) == "closed 1001");
  server.join();
  CHECK(server.ended());
  CHECK(server.failure().empty());
}

TEST_CASE("stop: what does not finish in time is refused") {
  Gate begun, go;
  serve::ServiceOptions soon = options();
  soon.drain = 100ms;
  FakeServer server(
      [&](const Observation&, const InferOptions&, ActionChunk&) {
        begun.open();
        go.wait();
      },
      soon);
  Robot robot(server);
  robot.send_binary(observation(1));
  begun.wait();
  server.stop();
  CHECK(outcome(robot.receive()) == "draining");
  CHECK(outcome(robot.receive()) == "closed 1001");
  go.open();
  server.join();
}

TEST_CASE("a peer that vanishes takes its waiting request with it") {
  Gate begun, go;
  std::atomic<int> calls = 0;
  FakeServer server([&](const Observation&, const InferOptions&, ActionChunk&) {
    ++calls;
    begun.open();
    go.wait();
  });
  {
    Robot robot(server);
    robot.send_binary(observation(1));
    begun.wait();
    robot.send_binary(observation(2));
    CHECK(eventually([&] { return server.get("/status").find("\"waiting\":1") != std::string::npos; }));
    robot.abort();
  }
  CHECK(eventually([&] { return server.metric("nervus_requests_total", "outcome=\"disconnected\"") == 2; }));
  go.open();
  Robot other(server);
  other.send_binary(observation(3));
  CHECK(outcome(other.receive()) == "ok 3");
  CHECK(calls == 2);
}

namespace {

// Why a server has dropped its sessions.
bool dropped(const LogLines& log, const std::string& reason) {
  const auto closed = log.of("session_closed");
  return std::any_of(closed.begin(), closed.end(), [&](const auto& line) { return line["reason"] == reason; });
}

}  // namespace

TEST_CASE("a silent peer is dropped, one that answers pings stays") {
  LogLines log;
  serve::ServiceOptions hasty = options();
  hasty.log = log.sink();
  hasty.network.ping = 100ms;
  hasty.network.pong = 1s;
  FakeServer server({}, hasty);
  Robot silent(server), healthy(server);
  CHECK(silent.receive().opcode == 9);
  std::atomic<bool> done = false;
  std::thread answering([&] {
    while (!done)
      if (healthy.receive(20).opcode == 9) healthy.send(Peer::frame(0x8a, ""));
  });
  CHECK(outcome(silent.receive()) == "ended");
  CHECK(eventually([&] { return dropped(log, "no answer to a ping"); }));
  std::this_thread::sleep_for(1200ms);  // longer than a peer may leave a ping unanswered
  done = true;
  answering.join();
  CHECK(log.of("session_closed").size() == 1);
  healthy.send_binary(observation(1));
  CHECK(outcome(receive_reply(healthy)) == "ok 1");
}

TEST_CASE("a message that comes a byte at a time ends its session, and no other's") {
  LogLines log;
  serve::ServiceOptions hasty = options();
  hasty.log = log.sink();
  hasty.network.ping = 100ms;  // looks every 25 ms
  hasty.network.pong = 1h;
  hasty.network.receive = 300ms;
  FakeServer server({}, hasty);
  Robot slow_sender(server), healthy(server);
  slow_sender.send(Peer::frame(0x82, std::string(1000, 'x')).substr(0, 100));
  CHECK(eventually([&] {
    slow_sender.send("x");
    return dropped(log, "the peer sends too slowly");
  }));
  healthy.send_binary(observation(1));
  CHECK(outcome(receive_reply(healthy)) == "ok 1");
}

TEST_CASE("messages that each come in time are not taken for one that does not end") {
  serve::ServiceOptions hasty = options();
  hasty.network.ping = 40ms;  // looks every 10 ms
  hasty.network.pong = 1h;
  hasty.network.receive = 2s;
  FakeServer server({}, hasty);
  Robot robot(server);
  for (std::uint64_t i = 0; i < 40; ++i) {
    const std::string bytes = Peer::frame(0x82, observation(i));
    robot.send(bytes.substr(0, 50));  // the first one before the server has looked
    std::this_thread::sleep_for(60ms);
    robot.send(bytes.substr(50));
    CHECK(outcome(receive_reply(robot)) == "ok " + std::to_string(i));
  }
}

TEST_CASE("a peer that does not read is dropped") {
  Deafness peer(1s, 300ms);
  peer.answer();
  CHECK(eventually([&] { return peer.is_over(); }));
}

TEST_CASE("a peer that answers pings that it cannot have read leaves no seat behind") {
  Deafness peer(50ms, 1s);
  peer.answer();
  // A ping waits for the reply that nobody reads, and another falls due.
  CHECK(eventually([&] {
    std::this_thread::sleep_for(150ms);
    peer.robot.send(Peer::frame(0x8a, ""));
    return peer.is_over();
  }));
  peer.robot.close();
  // The one that asks is there.
  CHECK(eventually([&] { return peer.server.get("/metrics").find("nervus_connections 1\n") != std::string::npos; }));
}

TEST_CASE("many connections, opened and closed, leave nothing behind") {
  FakeServer server;
  for (int i = 0; i < 300; ++i) {
    Robot robot(server);
    if (i % 3 == 0) robot.send_binary(observation());
    if (i % 2 == 0) robot.abort();
  }
  CHECK(eventually([&] { return server.get("/metrics").find("nervus_sessions 0\n") != std::string::npos; }));
  // The one that asks is there.
  CHECK(eventually([&] { return server.get("/metrics").find("nervus_connections 1\n") != std::string::npos; }));
}

TEST_CASE("a session that sends far ahead of its replies is closed, and costs no more") {
  Gate begun, go;
  LogLines log;
  serve::ServiceOptions with_log = options();
  with_log.log = log.sink();
  FakeServer server(
      [&](const Observation&, const InferOptions& chosen, ActionChunk&) {
        if (chosen.seed != 1) return;
        begun.open();
        go.wait();
      },
      with_log);
  Robot ahead(server), other(server);
  ahead.send_binary(observation(1));
  begun.wait();
  std::string many;
  for (int i = 0; i < 1023; ++i) many += Peer::frame(0x82, "\x80");  // each refused, and none told before the first
  ahead.send(many);
  CHECK(eventually([&] { return server.metric("nervus_requests_total", "outcome=\"bad_request\"") == 1023; }));
  CHECK(outcome(ahead.receive(100)) == "silent");
  CHECK(log.of("too_many_pending").empty());
  ahead.send_binary("\x80");
  CHECK(outcome(ahead.receive()) == "closed 1008");
  REQUIRE(log.of("too_many_pending").size() == 1);
  CHECK(server.metric("nervus_requests_total", "outcome=\"bad_request\"") == 1023);
  go.open();
  other.send_binary(observation(2));
  CHECK(outcome(other.receive()) == "ok 2");
}
