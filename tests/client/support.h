// What the client's tests share.
#pragma once

#include "eventually.h"
#include "nervus/client.h"

namespace nervus::test {

inline Observation look(float position = 0) {
  return {.images = {{"cam_high", {.width = 2, .height = 1, .rgb = {1, 2, 3, 4, 5, 6}}}},
          .state = {position, 1},
          .prompt = "go"};
}

// A chunk must last longer than a slow machine takes to answer and to look at what is played.
inline ClientOptions options_for(int port, double actions_per_second = 100) {
  ClientOptions options{.port = port, .backoff_seconds = 0.01, .most_backoff_seconds = 0.05};
  options.player.actions_per_second = actions_per_second;
  return options;
}

}  // namespace nervus::test
