// Which request runs next, and where. Each session has one request under way and at most one waiting, the newest; the
// sessions take turns in the order in which their requests arrived, on whichever replica is free.
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
};

class Scheduler {
 public:
  // Computes a job and hands its reply on; called on the replica's own thread, must not throw.
  using Run = std::function<void(std::size_t replica, const Job& job)>;

  Scheduler(std::size_t replicas, std::size_t most_waiting, Run run);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  struct Submission {
    std::optional<Job> superseded;         // an older request of the session, which will not run
    std::optional<double> retry_after_ms;  // the job was refused: too many wait
  };
  Submission submit(Job job);
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

  const std::size_t most_waiting_;
  const Run run_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::uint64_t, Session> sessions_;  // that wait or run
  std::deque<std::uint64_t> ready_;            // that wait and do not run, in the order of arrival
  std::size_t waiting_ = 0, running_ = 0;
  double mean_ms_ = 0;  // of a job, lately
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace nervus::serve
