// What tests of threads and sockets wait with.
#pragma once

#include <chrono>
#include <thread>

namespace nervus::test {

// Waits until something is so, at most 10 s.
template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

}  // namespace nervus::test
