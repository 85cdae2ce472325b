// What a client says of its connection: words of servers that nobody vouches for, and a log that fails.
#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <new>

#include "client/connection.h"
#include "client/readable.h"
#include "client/scripted.h"
#include "client/support.h"

using namespace nervus;
using namespace nervus::test;
using Stream = ScriptedServer::Stream;

TEST_CASE("words of a peer become UTF-8 without control characters") {
  CHECK(client::readable("") == "");
  CHECK(client::readable("a key, caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa4\x96") ==
        "a key, caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa4\x96");
  CHECK(client::readable("caf\xe9") == "caf\\xe9");
  CHECK(client::readable("\xe2\x82") == "\\xe2\\x82");
  CHECK(client::readable("\xe2\x82z\xff\xc3\xa9") == "\\xe2\\x82z\\xff\xc3\xa9");
  CHECK(client::readable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(client::readable(std::string_view("\0\x1b[31m\x7f\xc2\x9b", 9)) == "\\x00\\x1b[31m\\x7f\\xc2\\x9b");
}

TEST_CASE("a server that declines in another encoding is quoted readably") {
  ScriptedServer server({}, "HTTP/1.1 403 Forbidden\r\nContent-Length: 21\r\n\r\nacc\xe8s refus\xe9 \x1b[1m\r\nmore");
  std::mutex mutex;
  std::string log;
  ClientOptions options = options_for(server.port());
  options.log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    log = line;
  };
  Client client(options);
  CHECK(eventually([&] { return !client.status().problem.empty(); }));
  const std::string expected =
      "127.0.0.1:" + std::to_string(server.port()) + ": the server answered 403: acc\\xe8s refus\\xe9 \\x1b[1m";
  CHECK(client.status().problem == expected);
  const std::lock_guard lock(mutex);
  CHECK(log == "not connected: " + expected);
}

TEST_CASE("a close is quoted readably, and ends the connection whatever its reason is") {
  ScriptedServer server([](Stream& stream, int) {
    ScriptedServer::send(stream, ScriptedServer::metadata());
    stream.close({boost::beast::websocket::close_code::service_restart, "an\nup\x1b[1mdate"});
  });
  ClientOptions options = options_for(server.port());
  options.backoff_seconds = options.most_backoff_seconds = 3600;  // its problem stays
  Client client(options);
  CHECK(eventually([&] { return !client.status().problem.empty(); }));
  CHECK(client.status().problem.ends_with(": closed by the server with 1012: an\\x0aup\\x1b[1mdate"));
}

TEST_CASE("a log that throws ends neither the connection nor the process") {
  ScriptedServer server([](Stream& stream, int number) {
    ScriptedServer::send(stream, ScriptedServer::metadata());
    if (number == 1) return;
    ScriptedServer::receive(stream);
    ScriptedServer::send(stream, "no actions", false);  // refused: a line too
    ScriptedServer::receive(stream);
    ScriptedServer::send(stream, ScriptedServer::actions({1, 1}, {1, 2}));
    ScriptedServer::receive(stream);
  });
  std::atomic<int> lines = 0;
  ClientOptions options = options_for(server.port());
  options.log = [&](const std::string&) {
    if (++lines % 2 == 0) throw 3;
    throw std::runtime_error("no space on the device");
  };
  Client client(options);
  CHECK(eventually([&] { return client.status().connections == 2; }));
  CHECK_THROWS_AS(client.infer(look()), Refused);
  CHECK(client.infer(look()).chunk.steps == 1);
  CHECK(lines == 4);  // connected, disconnected, connected, refused
}

TEST_CASE("whatever a message's reader throws ends that connection in words, and the next is opened") {
  struct Handler final : client::ConnectionHandler {
    void opened(std::string_view) override { ++openings; }
    void received(std::string_view message, bool) override {
      if (message == "memory") throw std::bad_alloc();
      throw 3;
    }
    void closed(const std::string& why, bool was_open) override {
      const std::lock_guard lock(mutex);
      log += std::string(was_open ? "open" : "not open") + why.substr(why.find(": ")) + "\n";
    }
    std::atomic<int> openings = 0;
    std::mutex mutex;
    std::string log;
  };
  ScriptedServer server([](Stream& stream, int number) {
    ScriptedServer::send(stream, ScriptedServer::metadata());
    if (number <= 2) ScriptedServer::send(stream, number == 1 ? "memory" : "anything");
    ScriptedServer::receive(stream);
  });
  Handler handler;
  const client::Connection connection(options_for(server.port()), handler);
  CHECK(eventually([&] { return handler.openings == 3; }));
  const std::lock_guard lock(handler.mutex);
  CHECK(handler.log ==
        "open: not enough memory ('nervus doctor' says how much there is)\n"
        "open: unexpected: an exception without a message\n");
}
