// A robot and its policy that are made up: joints that follow a smooth intent, chunks that each say it a little
// differently, and a network that is slow, irregular and loses replies. The same numbers on every run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nervus/player.h"

namespace nervus::bench {

struct Scene {
  double seconds = 120;
  int joints = 14;
  double rate = 50;  // commands and actions a second
  int chunk_steps = 50;
  double offset = 0.03;    // of a chunk, standard deviation in radians
  double drift = 0.05;     // of a chunk, radians a second
  double latency_ms = 80;  // at least
  double jitter_ms = 40;   // mean of what is added
  double lost = 0.02;      // share of replies
};

// How chunks are played.
struct Way {
  std::string name, text;
  PlayerOptions options;
};
std::vector<Way> ways(const Scene& scene);

struct Played {
  std::vector<std::vector<float>> commands;  // one a tick
  std::vector<std::size_t> boundaries;       // ticks with the first command of another chunk
  std::size_t standing = 0;                  // ticks without a valid action, but for those before the first
  PlayerCounts counts;
};
Played play(const Scene& scene, const Way& way);

// What the robot should do.
double intent(int joint, double seconds);

}  // namespace nervus::bench
