#include "core/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace nervus;

TEST_CASE("work is done once for each index, by as many threads as are allowed") {
  for (const int threads : {1, 2, 5, 100}) {
    CAPTURE(threads);
    std::vector<std::atomic<int>> done(40);
    for_each_index(40, threads, [&](std::int64_t i) { ++done[static_cast<std::size_t>(i)]; });
    for (const std::atomic<int>& times : done) CHECK(times == 1);
  }
  for_each_index(0, 3, [](std::int64_t) { FAIL("there is none"); });
}

TEST_CASE("one thread works where one is allowed; two work at the same time where two are") {
  const std::thread::id self = std::this_thread::get_id();
  for_each_index(3, 1, [&](std::int64_t) { CHECK(std::this_thread::get_id() == self); });
  std::atomic<int> met = 0;
  for_each_index(2, 2, [&](std::int64_t) {  // each waits for the other
    ++met;
    while (met < 2) std::this_thread::yield();
  });
  CHECK(met == 2);
}

TEST_CASE("the first failure is thrown, when all is done") {
  for (const int threads : {1, 3}) {
    std::atomic<int> done = 0;
    const auto work = [&](std::int64_t i) {
      ++done;
      if (i == 2 || i == 5) throw std::runtime_error("failed at " + std::to_string(i));
    };
    CHECK_THROWS_WITH(for_each_index(8, threads, work), "failed at 2");
    CHECK(done == 8);
  }
}
