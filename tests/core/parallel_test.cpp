#include "core/parallel.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>

#include "eventually.h"

using namespace nervus;

namespace {

void fail_at(std::int64_t i) { throw std::runtime_error("failed at " + std::to_string(i)); }

}  // namespace

TEST_CASE("work is done once for each index, whatever the threads, and what follows it in order on this one") {
  const std::thread::id self = std::this_thread::get_id();
  for (const int threads : {0, 1, 2, 5, 40}) {
    Crew crew(threads);
    for (const std::int64_t count : {0, 1, 2, 31, 32, 33, 1000}) {
      CAPTURE(threads);
      CAPTURE(count);
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(count));
      std::vector<std::int64_t> order, expected(static_cast<std::size_t>(count));
      std::iota(expected.begin(), expected.end(), 0);
      bool here = true, behind = true;
      const auto work = [&](std::int64_t i) { ++done[static_cast<std::size_t>(i)]; };
      const auto next = [&](std::int64_t i) {
        here = here && std::this_thread::get_id() == self;
        behind = behind && done[static_cast<std::size_t>(i)] == 1;
        order.push_back(i);
      };
      crew.for_each(count, work, next);
      CHECK(here);
      CHECK(behind);
      CHECK(order == expected);
      crew.for_each(count, work);
      for (const std::atomic<int>& times : done) REQUIRE(times == 2);
    }
  }
}

TEST_CASE("a crew of one works where it is called; two work at the same time") {
  const std::thread::id self = std::this_thread::get_id();
  Crew().for_each(3, [&](std::int64_t) { CHECK(std::this_thread::get_id() == self); });
  Crew two(2);
  for (int i = 0; i < 20; ++i) {
    if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the other sleeps
    std::atomic<int> met = 0, seen = 0;
    two.for_each(2, [&](std::int64_t) {  // each waits for the other
      ++met;
      seen += test::eventually([&] { return met == 2; });
    });
    REQUIRE(seen == 2);
  }
}

TEST_CASE("what is done is handed on while others still work") {
  const std::thread::id self = std::this_thread::get_id();
  Crew two(2);
  std::atomic<int> handed = 0, taken = 0;
  std::atomic<bool> in_time = true;
  two.for_each(
      4,
      [&](std::int64_t i) {
        if (std::this_thread::get_id() == self) {
          if (!test::eventually([&] { return taken > 0; })) in_time = false;
        } else {
          ++taken;
          if (i > 0 && !test::eventually([&] { return handed > 0; })) in_time = false;
        }
      },
      [&](std::int64_t) { ++handed; });
  CHECK(in_time);
  CHECK(handed == 4);
}

TEST_CASE("the first failure is thrown, when all work is done, and nothing follows it") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    Crew crew(threads);
    for (const std::int64_t count : {8, 100}) {
      std::atomic<int> done = 0;
      std::vector<std::int64_t> order;
      const auto work = [&](std::int64_t i) {
        ++done;
        if (i == 2 || i == 5) fail_at(i);
      };
      CHECK_THROWS_WITH(crew.for_each(count, work), "failed at 2");
      CHECK(done == count);
      CHECK_THROWS_WITH(crew.for_each(count, work, [&](std::int64_t i) { order.push_back(i); }), "failed at 2");
      CHECK(done == 2 * count);
      CHECK(order == std::vector<std::int64_t>{0, 1});
      CHECK_THROWS_WITH(crew.for_each(count, work, [](std::int64_t i) { fail_at(i); }), "failed at 0");
      CHECK(done == 3 * count);
      crew.for_each(count, [&](std::int64_t) { ++done; });  // a failure is over when it was thrown
      CHECK(done == 4 * count);
    }
  }
}

TEST_CASE("who wakes late, when others have done the work or more has begun, finds nothing that has gone") {
  Crew crew(8);  // of more threads than this machine may have cores
  for (std::int64_t round = 0; round < 5000; ++round) {
    if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));  // all sleep
    const std::int64_t count = 1 + round % 40;
    auto sums = std::make_unique<std::vector<std::int64_t>>(static_cast<std::size_t>(count));
    std::int64_t handed = 0;
    crew.for_each(
        count, [&](std::int64_t i) { (*sums)[static_cast<std::size_t>(i)] += round + i; },
        [&](std::int64_t i) { handed += (*sums)[static_cast<std::size_t>(i)]; });
    REQUIRE(handed == count * round + count * (count - 1) / 2);
  }
}

TEST_CASE("who calls while another does, or from work, works alone") {
  Crew crew(3);
  std::atomic<bool> inside = false, go_on = false;
  std::jthread first([&] {
    crew.for_each(2, [&](std::int64_t) {
      inside = true;
      while (!go_on) std::this_thread::yield();
    });
  });
  while (!inside) std::this_thread::yield();
  const std::thread::id self = std::this_thread::get_id();
  std::vector<std::int64_t> order;
  crew.for_each(
      50, [&](std::int64_t i) { CHECK((std::this_thread::get_id() == self && i < 50)); },
      [&](std::int64_t i) { order.push_back(i); });
  CHECK(order.size() == 50);
  CHECK_THROWS_WITH(crew.for_each(2, fail_at), "failed at 0");
  go_on = true;
  first.join();

  std::atomic<int> done = 0;
  crew.for_each(4, [&](std::int64_t) { crew.for_each(10, [&](std::int64_t) { ++done; }); });
  CHECK(done == 40);
}

TEST_CASE("several threads call one crew, each for its own work") {
  Crew crew(3);
  std::vector<std::jthread> callers;
  std::atomic<int> wrong = 0, failures = 0;
  for (std::int64_t caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (std::int64_t round = 0; round < 500; ++round) {
        std::vector<std::int64_t> found(10, -1);
        try {
          crew.for_each(10, [&](std::int64_t i) {
            found[static_cast<std::size_t>(i)] = caller;
            if (round % 5 == caller && i > 6) fail_at(caller);
          });
          if (round % 5 == caller) ++wrong;
        } catch (const std::runtime_error& error) {
          ++failures;
          if (error.what() != "failed at " + std::to_string(caller)) ++wrong;
        }
        for (const std::int64_t value : found) wrong += value != caller;
      }
    });
  }
  callers.clear();
  CHECK(wrong == 0);
  CHECK(failures == 400);
}

TEST_CASE("a crew ends whether its threads sleep, are about to, or have not yet begun") {
  for (int i = 0; i < 200; ++i) {
    Crew crew(4);
    if (i % 2 == 0) continue;
    std::atomic<int> done = 0;
    crew.for_each(4, [&](std::int64_t) { ++done; });
    REQUIRE(done == 4);
  }
}
