// Work that several threads share.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace nervus {

// Threads that sleep until someone has work for them; started here, so that a call starts none and allocates nothing.
class Crew {
 public:
  Crew() = default;
  // The caller is one of the threads.
  explicit Crew(int threads);
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew();

  // work(i) for each i below `count`, on any thread of the crew, and next(i) on this one: in order, each when work(0)
  // to work(i) are done, while others go on. Who wakes late takes less, and is waited for only if it has begun.
  // Rethrows what the least i threw, after all work is done; from that i on there is no next. Who calls while another
  // does, or from work, has no help.
  template <typename Work, typename Next>
  void for_each(std::int64_t count, const Work& work, const Next& next) {
    run(count, std::cref(work), std::cref(next));  // of a reference a function makes no copy on the heap
  }
  template <typename Work>
  void for_each(std::int64_t count, const Work& work) {
    run(count, std::cref(work), {});
  }

 private:
  using Task = std::function<void(std::int64_t)>;

  // Of one call, in at most 32 shares. Whoever takes a share by counting `left` down may read what was set before, and
  // nobody sets it again before all are done.
  struct Job {
    void begin(std::int64_t count_of_all, const Task& task);
    bool work_a_share();  // false where none is left
    void wait_for_more(std::uint32_t known) const;
    void attempt(const Task& task, std::int64_t i);
    std::int64_t first_of(std::uint32_t share) const { return count * share / shares; }

    std::atomic<std::uint32_t> left = 0;  // shares that nobody has taken
    std::atomic<std::uint32_t> done = 0;  // a bit for each
    std::uint32_t shares = 0;
    std::int64_t count = 0;
    const Task* work = nullptr;
    std::atomic<std::int64_t> failed = 0;  // the least i, or count
    std::exception_ptr failure;
    std::mutex failing;
  };

  void run(std::int64_t count, const Task& work, const Task& next);
  void help();

  Job job_;
  std::atomic_flag busy_;
  std::vector<std::jthread> others_;  // the last: they use what is above
};

}  // namespace nervus
