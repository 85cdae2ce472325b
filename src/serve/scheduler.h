// Which requests run next, together, and where. Each session has one request under way and at most one waiting, the
// newest; the sessions take turns in the order in which their requests arrived, on whichever replica is free.
//
// A request that is alone starts at once. Where several wait for one free replica they share its next call, which also
// waits a little for others that may join: until it is full, every open session is in it, or the window has passed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "serve/dialect.h"

namespace nervus::serve {

using Clock = std::chrono::steady_clock;

inline double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

struct Job {
  std::uint64_t session = 0;
  std::uint64_t ticket = 0;             // of the session's requests
  std::shared_ptr<const void> message;  // keeps alive what the request's frames lie in
  std::string_view bytes;               // of the message, as it came
  Request request;
  Clock::time_point arrived, deadline;
  std::optional<double> prev_total_ms;
  double decode_ms = 0;  // that reading the message took
};

struct SchedulerOptions {
  std::size_t replicas = 1;
  std::size_t most_waiting = 64;                   // jobs, of all sessions together
  std::size_t most_together = 1;                   // jobs of one call
  Clock::duration window = {};                     // that a call of several jobs waits for more
  Clock::duration idle = std::chrono::seconds(1);  // of a replica, before it is looked after
};

class Scheduler {
 public:
  // Computes jobs of the same step count in one call and hands their replies on; called on the replica's own thread,
  // must not throw.
  using Run = std::function<void(std::size_t replica, std::span<const Job> jobs)>;

  // What an idle replica does now and then, on its own thread; must not throw, and no job starts there meanwhile.
  using Idle = std::function<void(std::size_t replica)>;

  Scheduler(const SchedulerOptions& options, Run run, Idle idle = {});
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  struct Submission {
    std::optional<Job> superseded;         // an older request of the session, which will not run
    std::optional<double> retry_after_ms;  // the job was refused: too many wait
  };
  Submission submit(Job job);
  // How many sessions there are, of which those without a job may still join a call.
  void set_sessions(std::size_t sessions);
  // The session's waiting job, which will not run; where `ticket` is given, only if it is that one.
  std::optional<Job> withdraw(std::uint64_t session, std::optional<std::uint64_t> ticket = {});
  // Starts nothing more, and waits for what is under way.
  void stop();

  std::size_t waiting() const;
  std::size_t running() const;

 private:
  struct Session {
    bool running = false;
    std::optional<Job> waiting;
  };
  void work(std::size_t replica);
  void await_job(std::unique_lock<std::mutex>& lock, std::size_t replica);
  std::size_t share() const;
  void await_company(std::unique_lock<std::mutex>& lock);
  std::vector<Job> take();
  void give_back(const std::vector<Job>& jobs, double took_ms);

  const SchedulerOptions options_;
  const Run run_;
  const Idle look_after_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::uint64_t, Session> sessions_;  // that wait or run
  std::deque<std::uint64_t> ready_;            // that wait and do not run, in the order of arrival
  std::size_t waiting_ = 0, running_ = 0;      // jobs
  std::size_t idle_ = 0;                       // replicas
  std::size_t open_ = 0;                       // sessions, also those without a job
  double mean_ms_ = 0;                         // that a job kept a replica, lately
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace nervus::serve
