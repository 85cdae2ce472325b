// The client against servers that are not ours: what they may send, and how connections end.
#include "client/scripted.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>

#include "checkpoint/support.h"
#include "client/backoff.h"
#include "client/messages.h"
#include "client/support.h"
#include "nervus/client.h"

using namespace nervus;
using namespace nervus::test;
using Stream = ScriptedServer::Stream;

namespace {

// What infer() says if the server answers with this; "no error" if it takes it.
std::pair<ErrorKind, std::string> said_of(const std::string& reply, bool binary = true) {
  ScriptedServer server([&](Stream& stream, int) {
    ScriptedServer::send(stream, ScriptedServer::metadata());
    ScriptedServer::receive(stream);
    ScriptedServer::send(stream, reply, binary);
    ScriptedServer::receive(stream);
  });
  Client client(options_for(server.port()));
  REQUIRE(client.wait_connected(10));
  auto said = error_of([&] { client.infer(look()); });
  // Loopback's port differs from run to run.
  const std::size_t port = said.second.find(std::to_string(server.port()));
  if (port != std::string::npos) said.second.replace(port, std::to_string(server.port()).size(), "PORT");
  return said;
}

// Of a client that misses no reply, and whose chunks last, however slow the machine is.
ClientOptions unhurried(int port) {
  ClientOptions options = options_for(port, 0.1);
  options.player.max_age_seconds = 60;
  options.player.timeout_seconds = 20;
  return options;
}

constexpr const char* lost = "the connection ended before the reply: 127.0.0.1:PORT: ";

}  // namespace

TEST_CASE("a server without ids, seeds and times is understood") {
  std::string request;
  ScriptedServer server([&](Stream& stream, int) {
    ScriptedServer::send(stream, ScriptedServer::metadata());
    request = ScriptedServer::receive(stream);
    ScriptedServer::send(stream, ScriptedServer::actions({1, 2, 3, 4, 5, 6}, {3, 2}));
    ScriptedServer::receive(stream);
  });
  ClientOptions options = options_for(server.port());
  options.keys = {{"cam_high", "observation/image"}};
  options.steps = 5;
  Client client(options);
  REQUIRE(client.wait_connected(10));
  const ClientReply reply = client.infer(look(2));
  CHECK(reply.chunk.steps == 3);
  CHECK(reply.chunk.dimensions == 2);
  CHECK(reply.chunk.values == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(reply.chunk.names == std::vector<std::string>(2));
  CHECK(client.server().server.empty());

  const wire::MsgpackDocument document = wire::MsgpackDocument::read(request);
  const auto image = wire::read_array(*document.root().find("observation/image"), "image");
  REQUIRE(image);
  CHECK(image->dtype == DType::u8);
  CHECK(image->shape == Shape{1, 2, 3});
  CHECK(image->bytes == "\1\2\3\4\5\6");
  CHECK(wire::read_numbers(*document.root().find("observation/state"), "state") == std::vector<float>{2, 1});
  CHECK(document.root().find("prompt")->text() == "go");
  CHECK(document.root().find("request_id")->text() == "1");
  CHECK(document.root().find("steps")->natural() == 5);
  CHECK(document.root().find("deadline_ms")->number() == 30000);
  CHECK(document.root().find("observation_age_ms")->number() == 0);
  CHECK(!document.root().find("seed"));
}

TEST_CASE("a reply that is none ends the connection, in words") {
  using wire::MsgpackWriter;
  const std::string no_actions = MsgpackWriter().map(1).text("action").nil().take();
  const std::string number = MsgpackWriter().map(1).text("actions").integer(3).take();
  const std::string list = MsgpackWriter().array(0).take();
  CHECK(said_of("").second == lost + std::string("msgpack: byte 0: expected 1 byte more, found 0"));
  CHECK(said_of("\xc1").second ==
        lost + std::string("msgpack: byte 0: expected a value, found the code 0xc1, which is none"));
  CHECK(said_of(list).second == lost + std::string("reply: expected a map, found an array"));
  CHECK(said_of(no_actions).second == lost + std::string("reply: actions: expected an array, found none"));
  CHECK(said_of(number).second == lost + std::string("reply: actions: expected an array of numpy, found an integer"));
  for (const Shape& shape : {Shape{6}, Shape{1, 2, 3}, Shape{}})
    CHECK(said_of(ScriptedServer::actions(std::vector<float>(shape.empty() ? 1 : 6), shape)).second ==
          lost + ("reply: actions: expected [steps, dimensions], at most 4194304 values, found " + to_string(shape)));
  CHECK(said_of(ScriptedServer::actions({}, {0, 2})).second ==
        lost + std::string("reply: actions: expected [steps, dimensions], at most 4194304 values, found [0, 2]"));
  CHECK(said_of("").first == ErrorKind::io);
  CHECK(said_of(ScriptedServer::actions({1}, {1, 1})).second == "no error");
}

TEST_CASE("a refusal is told in the server's words") {
  const auto refused =
      said_of(R"({"error": {"code": "bad_request", "message": "state: wrong", "hint": "mend it"}})", false);
  CHECK(refused.first == ErrorKind::input);
  CHECK(refused.second == "bad_request: state: wrong");
  const auto traceback = said_of("Traceback (most recent call last):\n  File \"x.py\"\nKeyError: 'state'\n", false);
  CHECK(traceback.first == ErrorKind::io);
  CHECK(traceback.second == "the server failed: KeyError: 'state'");
  CHECK(said_of("", false).second == "the server failed: ");
  CHECK(said_of(R"({"error": 3})", false).second == R"(the server failed: {"error": 3})");
  CHECK(said_of(std::string(100000, 'x'), false).second == "the server failed: " + std::string(512, 'x') + "...");
}

TEST_CASE("a refusal's fields are read") {
  const client::Refusal refusal = client::read_refusal(
      R"({"error": {"code": "guard_tripped", "message": "m", "hint": "h", "retry_after_ms": 250, "verdict": "stop",
      "request_id": "7"}})");
  CHECK(refusal.error.code == "guard_tripped");
  CHECK(refusal.error.hint == "h");
  CHECK(refusal.error.retry_seconds == 0.25);
  CHECK(refusal.error.halt == Halt::stop);
  CHECK(refusal.error.kind() == ErrorKind::input);
  CHECK(refusal.request_id == "7");
  const auto kind = [](const std::string& code) {
    return client::read_refusal(R"({"error": {"code": ")" + code + R"("}})").error.kind();
  };
  CHECK(kind("malformed") == ErrorKind::input);
  CHECK(kind("not_finite") == ErrorKind::numeric);
  CHECK(kind("device_failed") == ErrorKind::device);
  CHECK(kind("overloaded") == ErrorKind::io);
  CHECK(client::read_refusal(R"({"error": {"code": "x", "verdict": "hold"}})").error.halt == Halt::hold);
  CHECK(!client::read_refusal(R"({"error": {"code": "x"}})").error.halt);
  // An order that nobody knows is the strictest.
  CHECK(client::read_refusal(R"({"error": {"code": "x", "verdict": "run"}})").error.halt == Halt::stop);
}

TEST_CASE("actions that are not finite are never played") {
  std::atomic<int> answered = 0;
  ScriptedServer server([&](Stream& stream, int) {
    ScriptedServer::send(stream, ScriptedServer::metadata());
    while (true) {
      ScriptedServer::receive(stream);
      const float value = ++answered < 3 ? NAN : 5;
      ScriptedServer::send(stream, ScriptedServer::actions({5, value}, {2, 1}));
    }
  });
  ClientOptions options = unhurried(server.port());
  options.player.retry_seconds = 0.005;
  Client client(options);
  bool finite = true;
  CHECK(eventually([&] {
    if (client.wants_observation()) client.observe(look());
    const Motion motion = client.motion();
    for (const float value : motion.values) finite = finite && value == 5;
    return motion.state == MotionState::playing;
  }));
  CHECK(finite);
  CHECK(client.status().counts.invalid == 2);
}

TEST_CASE("a connection that ends is opened again, however it ends") {
  std::atomic<int> connections = 0;
  ScriptedServer server([&](Stream& stream, int number) {
    connections = number;
    if (number == 1) return;  // cut before the metadata
    if (number == 2) return ScriptedServer::send(stream, "no metadata", false);
    if (number == 3) return ScriptedServer::send(stream, "\xc1");
    ScriptedServer::send(stream, ScriptedServer::metadata());
    if (number == 4) return stream.close({boost::beast::websocket::close_code::service_restart, "an update"});
    if (number == 5) {
      ScriptedServer::receive(stream);
      return;  // cut with a request under way
    }
    while (true) {
      ScriptedServer::receive(stream);
      ScriptedServer::send(stream, ScriptedServer::actions({1, 1}, {2, 1}));
    }
  });
  std::mutex mutex;
  std::string log;
  ClientOptions options = unhurried(server.port());
  options.log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    log += line + "\n";
  };
  Client client(options);
  CHECK(eventually([&] {
    // Not on the fourth, which ends at once: who is faster would decide whether a request is lost.
    if (connections > 4 && client.wants_observation()) client.observe(look());
    return client.motion().state == MotionState::playing;
  }));
  CHECK(connections == 6);
  CHECK(client.status().connections == 3);
  CHECK(client.status().counts.lost == 1);
  const std::lock_guard lock(mutex);
  for (const char* part :
       {"not connected: 127.0.0.1:", ": expected a binary frame of metadata, found text\n",
        ": msgpack: byte 0: expected a value", "closed by the server with 1012: an update\n", "disconnected: "})
    CHECK_MESSAGE(log.find(part) != std::string::npos, part, log);
}

TEST_CASE("a reply that is missing ends a connection whose replies carry no id") {
  std::atomic<int> connections = 0;
  ScriptedServer server([&](Stream& stream, int number) {
    connections = number;
    ScriptedServer::send(stream, ScriptedServer::metadata());
    ScriptedServer::receive(stream);
    if (number == 1) ScriptedServer::receive(stream);  // says nothing more
    ScriptedServer::send(stream, ScriptedServer::actions({1, 1}, {2, 1}));
    ScriptedServer::receive(stream);
  });
  ClientOptions options = options_for(server.port(), 1);
  options.player.timeout_seconds = 1;
  Client client(options);
  const auto observe = [&] { return client.observe(look()); };
  CHECK(eventually(observe));
  // It is missed by whatever is called first when its time is over; both are called from one loop, or from two threads.
  SUBCASE("seen by who asks for a motion") {
    CHECK(eventually([&] { return client.motion(), client.status().counts.lost == 1; }));
  }
  SUBCASE("seen by who asks for an observation") {
    CHECK(eventually([&] { return client.wants_observation(), client.status().counts.lost == 1; }));
  }
  SUBCASE("seen by who has one") {}
  CHECK(eventually(observe));
  CHECK(eventually([&] { return client.motion().state == MotionState::playing; }));
  CHECK(connections == 2);
  CHECK(client.status().counts.lost == 1);
}

TEST_CASE("a server that falls silent is left") {
  std::mutex mutex;
  std::string log;
  const auto said = [&](const char* words) {
    const std::lock_guard lock(mutex);
    return log.find(words) != std::string::npos;
  };
  ScriptedServer server([&](Stream& stream, int) {
    // Each silence until it was seen, since on a slow machine a connection may end for another reason first.
    if (!said(": it says nothing\n")) ScriptedServer::receive(stream);  // until the client has left
    ScriptedServer::send(stream, ScriptedServer::metadata());
    // Answers no ping: nothing is read.
    eventually([&] { return said(": no answer to a ping\n"); });
    ScriptedServer::receive(stream);
  });
  ClientOptions options = options_for(server.port());
  options.handshake_seconds = 1;
  options.idle_seconds = 0.2;
  options.log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    log += line + "\n";
  };
  Client client(options);
  CHECK(eventually([&] { return client.status().connections >= 2; }));
  CHECK(said(": it says nothing\n"));
  CHECK(said(": no answer to a ping\n"));
}

TEST_CASE("without a server") {
  Client client(options_for(1));
  CHECK(!client.wait_connected(0.05));
  CHECK(!client.wants_observation());
  CHECK(!client.observe(look()));
  CHECK(client.motion().state == MotionState::waiting);
  CHECK(eventually([&] { return !client.status().problem.empty(); }));
  CHECK(client.status().problem.starts_with("127.0.0.1:1: cannot be reached: "));
  const auto [kind, text] = error_of([&] { client.infer(look()); });
  CHECK(kind == ErrorKind::io);
  CHECK(text.starts_with("127.0.0.1:1: not connected: 127.0.0.1:1: cannot be reached"));
}

TEST_CASE("options and observations that are wrong are named") {
  const auto said = [](auto change) {
    ClientOptions options;
    change(options);
    return error_of([&] { Client{options}; });
  };
  CHECK(said([](ClientOptions& o) { o.port = 0; }) ==
        std::pair(ErrorKind::usage, std::string("port: expected a number from 1 to 65535, found 0")));
  for (const char* host : {"", "wss://", "https://robots", "robots/path"})
    CHECK(said([&](ClientOptions& o) { o.host = host; }).second.starts_with("host: "));
  CHECK(said([](ClientOptions& o) { o.ca_file = "ca.pem"; }).second.starts_with("ca_file: expected a host behind"));
  for (const char* path : {"x", "/a b", "/a\r\nHost: b", "/a\n"})
    CHECK(said([&](ClientOptions& o) { o.path = path; }).second.starts_with("path: expected "));
  CHECK(said([](ClientOptions& o) { o.steps = -1; }).second == "steps: expected 0 (the server's) or more, found -1");
  CHECK(said([](ClientOptions& o) { o.max_message_bytes = 0; }).second ==
        "max_message_bytes: expected 1 or more, found 0");
  CHECK(said([](ClientOptions& o) { o.api_key = "a\nb"; }).second.starts_with("api_key: "));
  CHECK(said([](ClientOptions& o) { o.idle_seconds = 0; }).second.starts_with("idle_seconds: "));
  CHECK(said([](ClientOptions& o) { o.backoff_seconds = NAN; }).second.starts_with("backoff_seconds: "));
  CHECK(said([](ClientOptions& o) { o.player.blend_seconds = -1; }).second.starts_with("blend_seconds: "));
  Observation observation = look();
  observation.images.at("cam_high").width = 3;
  CHECK(error_of([&] { client::write_request(observation, {}, {}); }).second ==
        "camera 'cam_high': expected 3 x 1 pixels of 3 bytes, found 6 bytes");
}

TEST_CASE("backoff doubles up to its bound, between half of it and all, and begins again") {
  client::Backoff backoff(0.1, 1, 3);
  for (int round = 0; round < 2; ++round, backoff.reset())
    for (const double bound : {0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0}) {
      const double seconds = backoff.next_seconds();
      CHECK(seconds >= bound / 2);
      CHECK(seconds <= bound);
    }
  // By chance.
  client::Backoff one(1, 1, 1), other(1, 1, 2);
  CHECK(one.next_seconds() != other.next_seconds());
}
