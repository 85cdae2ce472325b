// Which requests run together, on which replica, and who waits for whom.
#include "serve/scheduler.h"

#include <doctest/doctest.h>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;
using namespace std::chrono_literals;

namespace {

serve::Job job(std::uint64_t session, int steps = 10) {
  serve::Job job{.session = session};
  job.request.steps = steps;
  return job;
}

// A scheduler whose calls are noted; each holds its replica until the gate of its number is open.
class Calls {
 public:
  using Sessions = std::vector<std::uint64_t>;

  explicit Calls(const serve::SchedulerOptions& options, std::size_t gates = 1, serve::Scheduler::Idle idle = {})
      : gates_(gates),
        scheduler_(
            options, [this](std::size_t, std::span<const serve::Job> jobs) { run(jobs); }, std::move(idle)) {}
  ~Calls() {
    for (Gate& gate : gates_) gate.open();
  }

  serve::Scheduler& scheduler() { return scheduler_; }
  void open(std::size_t gate = 0) { gates_[gate].open(); }
  std::vector<Sessions> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  bool saw(const std::vector<Sessions>& expected) const {
    return eventually([&] { return seen() == expected; });
  }

 private:
  void run(std::span<const serve::Job> jobs) {
    Sessions sessions;
    for (const serve::Job& job : jobs) sessions.push_back(job.session);
    std::size_t call = 0;
    {
      const std::lock_guard lock(mutex_);
      call = seen_.size();
      seen_.push_back(sessions);
    }
    if (call < gates_.size()) gates_[call].wait();
  }

  std::vector<Gate> gates_;
  mutable std::mutex mutex_;
  std::vector<Sessions> seen_;
  serve::Scheduler scheduler_;
};

// So long that a test which waits for it fails.
constexpr auto forever = 1h;

}  // namespace

TEST_CASE("a request that is alone starts at once, however long the window and whoever is there") {
  Calls calls({.most_together = 4, .window = forever}, 0);
  calls.scheduler().set_sessions(3);
  calls.scheduler().submit(job(1));
  CHECK(calls.saw({{1}}));
}

TEST_CASE("those that wait share the next call, in the order of arrival") {
  Calls calls({.most_together = 3, .window = 0s});
  calls.scheduler().set_sessions(5);
  calls.scheduler().submit(job(1));
  REQUIRE(calls.saw({{1}}));
  for (const std::uint64_t session : {4, 2, 5, 3}) calls.scheduler().submit(job(session));
  calls.open();
  CHECK(calls.saw({{1}, {4, 2, 5}, {3}}));
}

TEST_CASE("a call of several waits until it is full") {
  Calls calls({.most_together = 4, .window = forever});
  calls.scheduler().set_sessions(9);
  calls.scheduler().submit(job(1));
  REQUIRE(calls.saw({{1}}));
  for (const std::uint64_t session : {2, 3}) calls.scheduler().submit(job(session));
  calls.open();
  std::this_thread::sleep_for(30ms);
  CHECK(calls.seen().size() == 1);
  calls.scheduler().submit(job(4));
  std::this_thread::sleep_for(30ms);
  CHECK(calls.seen().size() == 1);
  calls.scheduler().submit(job(1));
  CHECK(calls.saw({{1}, {2, 3, 4, 1}}));
}

TEST_CASE("a call of several does not wait for sessions that are not there") {
  Calls calls({.most_together = 8, .window = forever});
  calls.scheduler().set_sessions(3);
  calls.scheduler().submit(job(1));
  REQUIRE(calls.saw({{1}}));
  for (const std::uint64_t session : {2, 3}) calls.scheduler().submit(job(session));
  calls.open();
  std::this_thread::sleep_for(30ms);
  CHECK(calls.seen().size() == 1);  // the first may come again
  calls.scheduler().set_sessions(2);
  CHECK(calls.saw({{1}, {2, 3}}));
}

TEST_CASE("a call of several starts when the window has passed") {
  Calls calls({.most_together = 8, .window = 40ms});
  calls.scheduler().set_sessions(9);
  calls.scheduler().submit(job(1));
  REQUIRE(calls.saw({{1}}));
  for (const std::uint64_t session : {2, 3}) calls.scheduler().submit(job(session));
  const auto opened = serve::Clock::now();
  calls.open();
  CHECK(calls.saw({{1}, {2, 3}}));
  CHECK(serve::Clock::now() - opened >= 40ms);
}

TEST_CASE("a withdrawal leaves the other alone, which then waits no longer") {
  Calls calls({.most_together = 8, .window = forever});
  calls.scheduler().set_sessions(9);
  calls.scheduler().submit(job(1));
  REQUIRE(calls.saw({{1}}));
  for (const std::uint64_t session : {2, 3}) calls.scheduler().submit(job(session));
  calls.open();
  CHECK(calls.scheduler().withdraw(2));
  calls.scheduler().set_sessions(8);
  CHECK(calls.saw({{1}, {3}}));
}

TEST_CASE("only one step count a call") {
  Calls calls({.most_together = 8, .window = 0s});
  calls.scheduler().submit(job(1));
  REQUIRE(calls.saw({{1}}));
  calls.scheduler().submit(job(2, 25));
  calls.scheduler().submit(job(3, 10));
  calls.scheduler().submit(job(4, 25));
  calls.scheduler().submit(job(5, 10));
  calls.open();
  CHECK(calls.saw({{1}, {2, 4}, {3, 5}}));
}

TEST_CASE("free replicas divide what waits") {
  Calls calls({.replicas = 2, .most_together = 8, .window = 0s}, 4);
  for (const std::uint64_t session : {1, 2}) calls.scheduler().submit(job(session));
  REQUIRE(eventually([&] { return calls.seen().size() == 2; }));  // each alone, on a replica of its own
  for (const auto& call : calls.seen()) CHECK(call.size() == 1);
  for (const std::uint64_t session : {3, 4, 5}) calls.scheduler().submit(job(session));
  calls.open(0);  // one replica is free: all that wait
  REQUIRE(eventually([&] { return calls.seen().size() == 3; }));
  CHECK(calls.seen()[2] == Calls::Sessions{3, 4, 5});
}

TEST_CASE("each session has one request under way, also where calls are shared") {
  Calls calls({.most_together = 8, .window = 0s}, 2);
  calls.scheduler().submit(job(1));
  REQUIRE(calls.saw({{1}}));
  calls.scheduler().submit(job(2));
  calls.scheduler().submit(job(1));
  CHECK(calls.scheduler().submit(job(1)).superseded);
  CHECK(calls.scheduler().waiting() == 2);
  CHECK(calls.scheduler().running() == 1);
  calls.open(0);
  REQUIRE(eventually([&] { return calls.seen().size() == 2; }));
  CHECK(calls.seen()[1] == Calls::Sessions{2, 1});
  CHECK(calls.scheduler().running() == 2);
}

TEST_CASE("a replica that is looked after counts for nobody: the other one takes all that waits") {
  Gate looking, done;
  std::atomic<int> others = 0;
  Calls calls({.replicas = 2, .most_together = 4, .idle = 1ms}, 2, [&](std::size_t replica) {
    if (replica != 0) {
      ++others;
      return;
    }
    looking.open();
    done.wait();
  });
  looking.wait();
  CHECK(eventually([&] { return others > 2; }));
  calls.open(1);
  calls.scheduler().submit(job(1));
  CHECK(calls.saw({{1}}));
  calls.scheduler().submit(job(2));
  calls.scheduler().submit(job(3));
  calls.open(0);
  CHECK(calls.saw({{1}, {2, 3}}));
  done.open();
}
