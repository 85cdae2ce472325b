// A clock, chunks and a network that are made up: nothing in them waits.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nervus/player.h"

namespace nervus::test {

// That many milliseconds behind the beginning.
inline Instant at(double milliseconds) {
  return Instant() + std::chrono::hours(1) +
         std::chrono::round<Instant::duration>(std::chrono::duration<double, std::milli>(milliseconds));
}

// One joint.
inline ActionChunk chunk(const std::vector<float>& values) {
  return {.steps = static_cast<std::int64_t>(values.size()), .dimensions = 1, .values = values};
}
inline ActionChunk constant(float value, std::size_t steps = 50) { return chunk(std::vector<float>(steps, value)); }
// first, first + 1, ...
inline ActionChunk rising(std::size_t steps, float first = 0) {
  std::vector<float> values(steps);
  for (std::size_t i = 0; i < steps; ++i) values[i] = first + static_cast<float>(i);
  return chunk(values);
}

// What becomes of the requests of a run, in their order; the last one's fate is that of all behind it.
struct Fate {
  double latency_ms = 0;
  enum { reply, lose, hold, stop, refuse } what = reply;
};

// Runs a player for so long, a call of motion() a millisecond, with an observation whenever one is wanted. Each change
// of state is a word, "60 playing 1": when, what, whose chunk.
class Run {
 public:
  Run(const PlayerOptions& options, std::vector<Fate> fates) : player(options), fates_(std::move(fates)) {}

  // The connection is not there from .. until.
  void disconnect(int from, int until) {
    gone_from_ = from;
    gone_until_ = until;
  }

  std::string play(int until_ms) {
    for (; now_ < until_ms; ++now_) {
      if (now_ == gone_from_) {
        player.disconnected(at(now_));
        arriving_.clear();
      }
      deliver();
      const bool connected = now_ < gone_from_ || now_ >= gone_until_;
      if (connected && player.wants_request(at(now_))) send();
      const Motion motion = player.motion(at(now_));
      commands.push_back(motion.values.empty() ? 0 : motion.values[0]);
      const std::string word = std::string(name_of(motion.state)) + " " + std::to_string(motion.request);
      if (word != word_) log_ += (log_.empty() ? "" : "; ") + std::to_string(now_) + " " + word;
      word_ = word;
    }
    return log_;
  }

  Player player;
  std::vector<double> commands;  // one a millisecond
  std::vector<int> requested;    // when

 private:
  struct Arriving {
    std::uint64_t request;
    Fate fate;
  };

  void send() {
    requested.push_back(now_);
    const Fate fate = fates_[std::min(requested.size(), fates_.size()) - 1];
    const std::uint64_t request = player.requested(at(now_), at(now_));
    if (fate.what != Fate::lose) arriving_.emplace(now_ + fate.latency_ms, Arriving{request, fate});
  }

  void deliver() {
    while (!arriving_.empty() && arriving_.begin()->first <= now_) {
      const auto [request, fate] = arriving_.begin()->second;
      arriving_.erase(arriving_.begin());
      // A position of 1 a second, from the start of the run: all chunks agree.
      const float begin = static_cast<float>(requested[request - 1]) / 1000;
      std::vector<float> values;
      for (int i = 0; i < 50; ++i) values.push_back(begin + static_cast<float>(i) * 0.02f);
      if (fate.what == Fate::reply) player.replied(request, chunk(values), at(now_));
      else if (fate.what == Fate::refuse) player.refused(request, std::nullopt, std::nullopt, at(now_));
      else player.refused(request, fate.what == Fate::hold ? Halt::hold : Halt::stop, std::nullopt, at(now_));
    }
  }

  std::vector<Fate> fates_;
  std::multimap<double, Arriving> arriving_;
  int now_ = 0, gone_from_ = -1, gone_until_ = -1;
  std::string word_, log_;
};

}  // namespace nervus::test
