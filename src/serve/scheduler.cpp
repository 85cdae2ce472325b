#include "serve/scheduler.h"

#include <algorithm>
#include <utility>

namespace nervus::serve {

Scheduler::Scheduler(const SchedulerOptions& options, Run run, Idle idle)
    : options_(options), run_(std::move(run)), look_after_(std::move(idle)), idle_(options.replicas) {
  for (std::size_t i = 0; i < options.replicas; ++i) threads_.emplace_back([this, i] { work(i); });
}

Scheduler::~Scheduler() { stop(); }

Scheduler::Submission Scheduler::submit(Job job) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t id = job.session;
  const auto known = sessions_.find(id);
  Submission submission;
  if (known != sessions_.end() && known->second.waiting) {
    // Keeps its place in the queue.
    submission.superseded = std::exchange(known->second.waiting, std::move(job));
    return submission;
  }
  if (waiting_ >= options_.most_waiting) {
    const auto turns = static_cast<double>(waiting_ / options_.replicas + 1);
    submission.retry_after_ms = std::max(1.0, turns * mean_ms_);
    return submission;
  }
  Session& session = sessions_[id];
  session.waiting = std::move(job);
  ++waiting_;
  if (!session.running) {
    ready_.push_back(id);
    wake_.notify_all();
  }
  return submission;
}

void Scheduler::set_sessions(std::size_t sessions) {
  const std::lock_guard lock(mutex_);
  open_ = sessions;
  wake_.notify_all();
}

std::optional<Job> Scheduler::withdraw(std::uint64_t id, std::optional<std::uint64_t> ticket) {
  const std::lock_guard lock(mutex_);
  const auto session = sessions_.find(id);
  if (session == sessions_.end() || !session->second.waiting) return std::nullopt;
  if (ticket && session->second.waiting->ticket != *ticket) return std::nullopt;
  std::optional<Job> job = std::exchange(session->second.waiting, std::nullopt);
  --waiting_;
  std::erase(ready_, id);
  if (!session->second.running) sessions_.erase(session);
  return job;
}

// Jobs that the next call takes: those that wait are divided among the replicas that are free.
std::size_t Scheduler::share() const {
  const std::size_t idle = std::max<std::size_t>(idle_, 1);
  return std::min((ready_.size() + idle - 1) / idle, options_.most_together);
}

// Until the call is full, or nobody else can join it, or the window has passed; at once for a job that is alone.
void Scheduler::await_company(std::unique_lock<std::mutex>& lock) {
  const auto decided = [this] {
    return stopping_ || share() < 2 || share() == options_.most_together || sessions_.size() >= open_;
  };
  if (!decided()) wake_.wait_until(lock, Clock::now() + options_.window, decided);
}

// The jobs of the next call: the first that waits, and others of its step count behind it.
std::vector<Job> Scheduler::take() {
  const std::size_t most = share();
  std::vector<Job> jobs;
  for (auto at = ready_.begin(); at != ready_.end() && jobs.size() < most;) {
    Session& session = sessions_.at(*at);
    if (!jobs.empty() && session.waiting->request.steps != jobs.front().request.steps) {
      ++at;
      continue;
    }
    jobs.push_back(*std::exchange(session.waiting, std::nullopt));
    session.running = true;
    at = ready_.erase(at);
  }
  waiting_ -= jobs.size();
  running_ += jobs.size();
  return jobs;
}

// The sessions of jobs that have run may have their next one run.
void Scheduler::give_back(const std::vector<Job>& jobs, double took_ms) {
  const double each = took_ms / static_cast<double>(jobs.size());
  mean_ms_ = mean_ms_ == 0 ? each : mean_ms_ + 0.1 * (each - mean_ms_);
  running_ -= jobs.size();
  for (const Job& job : jobs) {
    const auto session = sessions_.find(job.session);  // withdraw does not erase a session that runs
    session->second.running = false;
    if (session->second.waiting) {
      ready_.push_back(job.session);
    } else {
      sessions_.erase(session);
    }
  }
  wake_.notify_all();
}

// Until a job waits; looks after the replica meanwhile.
void Scheduler::await_job(std::unique_lock<std::mutex>& lock, std::size_t replica) {
  const auto woken = [this] { return stopping_ || !ready_.empty(); };
  if (!look_after_) return wake_.wait(lock, woken);
  while (!wake_.wait_until(lock, Clock::now() + options_.idle, woken)) {
    --idle_;
    lock.unlock();
    look_after_(replica);
    lock.lock();
    ++idle_;
  }
}

void Scheduler::work(std::size_t replica) {
  std::unique_lock lock(mutex_);
  while (true) {
    await_job(lock, replica);
    await_company(lock);
    if (stopping_) return;
    const std::vector<Job> jobs = take();
    if (jobs.empty()) continue;  // another replica, or a withdrawal, was faster
    --idle_;
    lock.unlock();

    const Clock::time_point started = Clock::now();
    run_(replica, jobs);
    const double took = milliseconds(Clock::now() - started);

    lock.lock();
    ++idle_;
    give_back(jobs, took);
  }
}

void Scheduler::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_)
    if (thread.joinable()) thread.join();
}

std::size_t Scheduler::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

std::size_t Scheduler::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

}  // namespace nervus::serve
