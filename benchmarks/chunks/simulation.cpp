#include "chunks/simulation.h"

#include <cmath>
#include <map>
#include <numbers>
#include <random>

namespace nervus::bench {
namespace {

Instant at(double seconds) {
  return Instant() + std::chrono::hours(1) +
         std::chrono::round<Instant::duration>(std::chrono::duration<double>(seconds));
}

// The same on every standard library, unlike its distributions.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  double share() { return static_cast<double>(random_() >> 11) / 9007199254740992.0; }
  double normal() { return std::sqrt(-2 * std::log(1 - share())) * std::cos(2 * std::numbers::pi * share()); }

 private:
  std::mt19937_64 random_;
};

// What the policy makes of an observation.
ActionChunk chunk_of(const Scene& scene, double observed, Dice& dice) {
  ActionChunk chunk{.steps = scene.chunk_steps, .dimensions = scene.joints};
  std::vector<double> offset, drift;
  for (int joint = 0; joint < scene.joints; ++joint) {
    offset.push_back(scene.offset * dice.normal());
    drift.push_back(scene.drift * dice.normal());
  }
  for (int step = 0; step < scene.chunk_steps; ++step)
    for (int joint = 0; joint < scene.joints; ++joint) {
      const double ahead = step / scene.rate;
      const auto i = static_cast<std::size_t>(joint);
      chunk.values.push_back(static_cast<float>(intent(joint, observed + ahead) + offset[i] + drift[i] * ahead));
    }
  return chunk;
}

}  // namespace

double intent(int joint, double seconds) {
  const double phase = 0.7 * joint;
  return 0.4 * std::sin(2 * std::numbers::pi * 0.15 * seconds + phase) +
         0.1 * std::sin(2 * std::numbers::pi * 0.4 * seconds + 2 * phase);
}

std::vector<Way> ways(const Scene& scene) {
  const auto options = [&](Blend blend) {
    return PlayerOptions{
        .actions_per_second = scene.rate, .blend = blend, .blend_seconds = 0.2, .timeout_seconds = 0.3};
  };
  std::vector<Way> all = {
      {"one by one", "the next chunk is asked for at the end of the last one", options(Blend::latest)},
      {"latest", "asked for in time; the newest chunk takes over at once", options(Blend::latest)},
      {"linear", "asked for in time, blended evenly over 0.2 s", options(Blend::linear)},
      {"smooth", "asked for in time, blended smoothly over 0.2 s", options(Blend::smooth)}};
  all.front().options.request_actions = 1;
  return all;
}

Played play(const Scene& scene, const Way& way) {
  Dice network(1), policy(2);
  Player player(way.options);
  std::multimap<double, std::pair<std::uint64_t, ActionChunk>> arriving;
  Played played;
  std::uint64_t playing = 0;
  const auto ticks = static_cast<std::size_t>(scene.seconds * scene.rate);
  for (std::size_t tick = 0; tick < ticks; ++tick) {
    const double now = static_cast<double>(tick) / scene.rate;
    for (; !arriving.empty() && arriving.begin()->first <= now; arriving.erase(arriving.begin())) {
      const auto& [request, chunk] = arriving.begin()->second;
      player.replied(request, chunk, at(now));
    }
    // "One by one" does not know of latency: a robot that waits asks when it has nothing left.
    const bool waits = way.options.request_actions == 1 && player.motion(at(now)).state == MotionState::playing;
    if (!waits && player.wants_request(at(now))) {
      const std::uint64_t request = player.requested(at(now), at(now));
      const double latency = (scene.latency_ms - scene.jitter_ms * std::log(1 - network.share())) / 1000;
      const bool lost = network.share() < scene.lost;
      ActionChunk chunk = chunk_of(scene, now, policy);
      if (!lost) arriving.emplace(now + latency, std::pair(request, std::move(chunk)));
    }
    const Motion motion = player.motion(at(now));
    if (motion.values.empty()) continue;
    if (playing != 0 && motion.request != playing) played.boundaries.push_back(played.commands.size());
    playing = motion.request;
    if (motion.state != MotionState::playing) ++played.standing;
    played.commands.push_back(motion.values);
  }
  played.counts = player.counts();
  return played;
}

}  // namespace nervus::bench
