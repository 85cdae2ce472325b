// What the client's tests share.
#pragma once

#include <chrono>
#include <thread>

#include "nervus/client.h"

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

inline Observation look(float position = 0) {
  return {.images = {{"cam_high", {.width = 2, .height = 1, .rgb = {1, 2, 3, 4, 5, 6}}}},
          .state = {position, 1},
          .prompt = "go"};
}

inline ClientOptions options_for(int port) {
  ClientOptions options{.port = port, .backoff_seconds = 0.01, .most_backoff_seconds = 0.05};
  options.player.actions_per_second = 100;
  return options;
}

}  // namespace nervus::test
