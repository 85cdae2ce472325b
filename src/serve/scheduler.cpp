#include "serve/scheduler.h"

#include <algorithm>
#include <utility>

namespace nervus::serve {

Scheduler::Scheduler(std::size_t replicas, std::size_t most_waiting, Run run)
    : most_waiting_(most_waiting), run_(std::move(run)) {
  for (std::size_t i = 0; i < replicas; ++i) threads_.emplace_back([this, i] { work(i); });
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
  if (waiting_ >= most_waiting_) {
    const auto turns = static_cast<double>(waiting_ / std::max<std::size_t>(threads_.size(), 1) + 1);
    submission.retry_after_ms = std::max(1.0, turns * mean_ms_);
    return submission;
  }
  Session& session = sessions_[id];
  session.waiting = std::move(job);
  ++waiting_;
  if (!session.running) {
    ready_.push_back(id);
    wake_.notify_one();
  }
  return submission;
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

void Scheduler::work(std::size_t replica) {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !ready_.empty(); });
    if (stopping_) return;
    const std::uint64_t id = ready_.front();
    ready_.pop_front();
    const auto session = sessions_.find(id);
    const Job job = *std::exchange(session->second.waiting, std::nullopt);
    session->second.running = true;
    --waiting_;
    ++running_;
    lock.unlock();

    const Clock::time_point started = Clock::now();
    run_(replica, job);
    const double took = milliseconds(Clock::now() - started);

    lock.lock();
    mean_ms_ = mean_ms_ == 0 ? took : mean_ms_ + 0.1 * (took - mean_ms_);
    --running_;
    // Iterators of a map stay valid, and withdraw does not erase a session that runs.
    session->second.running = false;
    if (session->second.waiting) {
      ready_.push_back(id);
      wake_.notify_one();
    } else {
      sessions_.erase(session);
    }
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
