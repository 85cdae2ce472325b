#include "core/parallel.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace nervus {
namespace {

constexpr std::uint32_t most_shares = 32, ended = ~0u;  // instead of how many are left

}  // namespace

void Crew::Job::begin(std::int64_t count_of_all, const Task& task) {
  shares = static_cast<std::uint32_t>(std::min<std::int64_t>(count_of_all, most_shares));
  count = count_of_all;
  work = &task;
  failed = count;
  done = 0;
  left = shares;
}

bool Crew::Job::work_a_share() {
  std::uint32_t now = left;
  do {
    if (now == 0 || now == ended) return false;
  } while (!left.compare_exchange_weak(now, now - 1));
  const std::uint32_t share = shares - now;
  for (std::int64_t i = first_of(share); i < first_of(share + 1); ++i) attempt(*work, i);
  done |= 1u << share;
  done.notify_one();
  return true;
}

// What others have begun is done in less time than it takes to sleep and wake.
void Crew::Job::wait_for_more(std::uint32_t known) const {
  for (int turn = 0; turn < 50 && done == known; ++turn) std::this_thread::yield();
  done.wait(known);
}

void Crew::Job::attempt(const Task& task, std::int64_t i) {
  try {
    task(i);
  } catch (...) {
    const std::lock_guard lock(failing);
    if (i > failed) return;
    failed = i;
    failure = std::current_exception();
  }
}

Crew::Crew(int threads) : Crew() {  // which then ends those that were started, if one cannot be
  for (int i = 1; i < threads; ++i) others_.emplace_back([this] { help(); });
}

Crew::~Crew() {
  job_.left = ended;
  job_.left.notify_all();
}

void Crew::help() {
  for (;;) {
    job_.left.wait(0);
    if (job_.left == ended) return;
    while (job_.work_a_share()) {
    }
  }
}

void Crew::run(std::int64_t count, const Task& work, const Task& next) {
  Job own;
  const bool together = count > 1 && !others_.empty() && !busy_.test_and_set();
  Job& job = together ? job_ : own;
  job.begin(count, work);
  if (together) job.left.notify_all();
  for (std::int64_t i = 0; i < count;) {
    const bool worked = job.work_a_share();
    const std::uint32_t done = job.done;
    const auto ready = static_cast<std::uint32_t>(std::countr_one(done));
    if (i == job.first_of(ready) && !worked) job.wait_for_more(done);
    for (; i < job.first_of(ready); ++i) {
      if (next && i < job.failed) job.attempt(next, i);
    }
  }
  const std::exception_ptr failure = std::exchange(job.failure, nullptr);
  if (together) busy_.clear();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace nervus
