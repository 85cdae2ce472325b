// Devices that fail: in a call, and while nothing runs.
#include <doctest/doctest.h>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;
using namespace std::chrono_literals;

namespace {

const std::string ask_ready = "GET /readyz HTTP/1.1\r\nHost: robot\r\n\r\n";

serve::ServiceOptions often() {
  serve::ServiceOptions options;
  options.check = 10ms;
  return options;
}

// Replicas whose devices do what `check` says of each, by its number.
std::vector<std::unique_ptr<serve::Replica>> replicas_of(int count, const FakePolicy& policy,
                                                         const std::function<void(int)>& check) {
  std::vector<std::unique_ptr<serve::Replica>> replicas;
  for (int i = 0; i < count; ++i) {
    auto replica = std::make_unique<FakeReplica>(policy);
    replica->on_check([=] { check(i); });
    replicas.push_back(std::move(replica));
  }
  return replicas;
}

}  // namespace

TEST_CASE("a failed device: every session is told, then the server ends") {
  FakeServer server(
      [&](const Observation&, const InferOptions&, ActionChunk&) { throw Error(ErrorKind::device, "cuda:0: lost"); });
  Robot robot(server), other(server);
  robot.send_binary(observation());
  CHECK(outcome(robot.receive()) == "device_failed");
  CHECK(outcome(robot.receive()) == "closed 1001");
  CHECK(outcome(other.receive()) == "closed 1001");
  robot.close();
  other.close();
  server.join();
  CHECK(server.failure() == "cuda:0: lost");
}

TEST_CASE("a failed device: not ready at once, also while another replica computes") {
  Gate computing, failing, go;
  FakeServer server(
      [&](const Observation&, const InferOptions& chosen, ActionChunk&) {
        if (chosen.seed == 1) {
          computing.open();
          go.wait();
        } else {
          failing.wait();
          throw Error(ErrorKind::device, "cuda:1: lost");
        }
      },
      {}, 2);
  Peer health(server.port());  // a connection that is kept, as a load balancer does
  CHECK(health.http(ask_ready).starts_with("HTTP/1.1 200"));
  Robot busy(server), lost(server);
  busy.send_binary(observation(1));
  computing.wait();
  lost.send_binary(observation(2));
  failing.open();
  const auto failed = std::chrono::steady_clock::now();
  CHECK(outcome(lost.receive()) == "device_failed");
  CHECK(health.http(ask_ready).starts_with("HTTP/1.1 503"));
  MESSAGE("not ready after ",
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - failed).count(), " ms");
  CHECK(outcome(busy.receive()) == "device_failed");
  CHECK(server.get("/readyz").empty());  // nothing new is accepted
  go.open();
  server.join();
  CHECK(server.failure() == "cuda:1: lost");
}

TEST_CASE("a device that fails while nothing runs: not ready at once, every session is told, the server ends") {
  std::atomic<bool> lost = false;
  std::atomic<std::chrono::steady_clock::time_point> known{};
  LogLines log;
  serve::ServiceOptions options = often();
  options.log = log.sink();
  FakeServer server(options, replicas_of(1, {}, [&](int) {
                      if (!lost) return;
                      if (known.load() == std::chrono::steady_clock::time_point())
                        known = std::chrono::steady_clock::now();
                      throw Error(ErrorKind::device, "cuda:0: lost");
                    }));
  Peer health(server.port());
  Robot robot(server), other(server);
  CHECK(health.http(ask_ready).starts_with("HTTP/1.1 200"));
  robot.send_binary(observation(1));
  CHECK(outcome(robot.receive()) == "ok 1");
  lost = true;
  for (Robot* session : {&robot, &other}) {
    const Frame frame = session->receive();
    CHECK(outcome(frame) == "closed 1001");
    CHECK(frame.payload.substr(2) == "a device failed");
  }
  CHECK(health.http(ask_ready).starts_with("HTTP/1.1 503"));  // also where a load balancer keeps its connection
  const auto took = std::chrono::steady_clock::now() - known.load();
  MESSAGE("sessions told, and not ready, after ", std::chrono::duration<double, std::milli>(took).count(), " ms");
  CHECK(took < 5s);
  server.join();
  CHECK(server.failure() == "cuda:0: lost");
  CHECK(server.failure_kind() == ErrorKind::device);
  REQUIRE(log.of("device_failed").size() == 1);
  CHECK(log.of("device_failed")[0]["message"] == "cuda:0: lost");
}

TEST_CASE("a device that fails while nothing runs there: what another computes is told so, and not waited for") {
  Gate computing, go;
  std::atomic<bool> lost = false, computed = false;
  FakeServer server(often(), replicas_of(
                                 2,
                                 [&](const Observation&, const InferOptions&, ActionChunk&) {
                                   computing.open();
                                   go.wait();
                                   computed = true;
                                 },
                                 [&](int) {
                                   if (lost) throw std::runtime_error("the other one is gone");
                                 }));
  Robot robot(server);
  robot.send_binary(observation(1));
  computing.wait();
  lost = true;
  CHECK(outcome(robot.receive()) == "device_failed");
  CHECK(outcome(robot.receive()) == "closed 1001");
  server.join();
  CHECK_FALSE(computed);
  CHECK(server.failure() == "the other one is gone");
  go.open();
}

TEST_CASE("a device is asked again and again while it is idle, on its own thread, and never beside a call") {
  Gate begun, go;
  std::atomic<int> checks[2] = {0, 0};
  std::atomic<bool> computing = false, beside = false;
  std::atomic<std::thread::id> computed_by{}, checked_by{};
  FakeServer server(often(), replicas_of(
                                 1,
                                 [&](const Observation&, const InferOptions&, ActionChunk&) {
                                   computed_by = std::this_thread::get_id();
                                   computing = true;
                                   begun.open();
                                   go.wait();
                                   computing = false;
                                 },
                                 [&](int replica) {
                                   checked_by = std::this_thread::get_id();
                                   ++checks[replica];
                                   if (computing) beside = true;
                                 }));
  CHECK(eventually([&] { return checks[0] >= 3; }));
  Robot robot(server);
  robot.send_binary(observation(1));
  begun.wait();
  const int before = checks[0];
  std::this_thread::sleep_for(100ms);
  CHECK(checks[0] == before);
  go.open();
  CHECK(outcome(robot.receive()) == "ok 1");
  CHECK(eventually([&] { return checks[0] > before; }));
  CHECK_FALSE(beside);
  CHECK(checked_by.load() == computed_by.load());
  CHECK(server.get("/readyz") == "200 ready\n");
}

TEST_CASE("each replica is looked after for itself, the new ones behind a reload, and 50 ms apart by default") {
  CHECK(serve::ServiceOptions().check == 50ms);
  std::atomic<int> old_checks[2] = {0, 0}, new_checks[2] = {0, 0};
  FakeServer server(often(), replicas_of(2, {}, [&](int replica) { ++old_checks[replica]; }));
  CHECK(eventually([&] { return old_checks[0] > 1 && old_checks[1] > 1; }));
  server.service().reload([&] { return replicas_of(2, {}, [&](int replica) { ++new_checks[replica]; }); });
  CHECK(eventually([&] { return new_checks[0] > 1 && new_checks[1] > 1; }));
  const int before = old_checks[0] + old_checks[1];
  std::this_thread::sleep_for(50ms);
  CHECK(old_checks[0] + old_checks[1] == before);
}
