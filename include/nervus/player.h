// Player: chunks of actions, played in time. Knows neither network nor clock: every call is told what time it is.
//
//   nervus::Player player({.actions_per_second = 50});
//   if (player.wants_request(now)) id = player.requested(observed, now);   // and ask the policy
//   player.replied(id, chunk, now);                                        // once it has answered
//   nervus::Motion motion = player.motion(now);                            // as often as the robot takes commands
//
// Action i of a chunk belongs to the moment i / actions_per_second after its observation, whenever the chunk arrives.
// Client (client.h) does this against a policy server. Used by one thread at a time; times must not run backwards.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nervus/observation.h"

namespace nervus {

using Instant = std::chrono::steady_clock::time_point;

// How a new chunk takes over from what plays.
enum class Blend : std::uint8_t {
  latest,  // at once
  linear,  // its weight grows from 0 to 1 over blend_seconds
  smooth,  // likewise, slowly at both ends: the velocity does not jump either
};

// What moves the robot when there is no valid action.
enum class Watchdog : std::uint8_t {
  hold,      // nothing: the last pose is kept, or the chunk's end, if its observation is not older than max_age_seconds
  ramp,      // before that, the end of the chunk is played slower and slower until it stands; never beyond the chunk
  callback,  // PlayerOptions::callback
};

// What a server's guard orders that gives no actions.
enum class Halt : std::uint8_t {
  hold,  // the watchdog acts at once, until there is a newer chunk
  stop,  // likewise, until reset()
};

struct WatchdogCall {
  Instant now;
  double seconds = 0;              // since there is no valid action
  const std::vector<float>& last;  // what was commanded last
  bool stopped = false;            // a guard ordered to stop
};

struct PlayerOptions {
  double actions_per_second = 50;  // of a chunk
  bool interpolate = true;         // between two actions; otherwise the nearest
  Blend blend = Blend::smooth;
  double blend_seconds = 0.2;
  double max_age_seconds = 2;     // of an observation: what was made of an older one is not played
  double request_fraction = 0.5;  // the next chunk is asked for when so much of this one is left,
  int request_actions = 0;        // or so many actions, if above 0; or earlier, if the latest replies took longer
  double timeout_seconds = 1;     // of a request: then it counts as lost, and the next may be sent
  double retry_seconds = 0.1;     // after a refusal that names no time of its own
  Watchdog watchdog = Watchdog::hold;
  double ramp_seconds = 0.4;  // that the ramp takes, over as much of the chunk as plays in half of it
  // The command where nothing is valid; one of another size, or not finite, is not taken: the last pose is kept.
  std::function<std::vector<float>(const WatchdogCall&)> callback = {};
};

enum class MotionState : std::uint8_t {
  waiting,   // there was no chunk yet, or none in time, so there is no command and the watchdog does not act
  playing,   // a chunk
  ramping,   // to a standstill
  holding,   // the last pose
  callback,  // the command is the callback's
  stopped,   // the last pose, until reset()
};
const char* name_of(MotionState state) noexcept;

struct Motion {
  MotionState state = MotionState::waiting;
  std::vector<float> values;  // the command, one a joint; empty before the first one
  std::uint64_t request = 0;  // whose chunk plays, 0: none
  double weight = 1;          // of that chunk, against those before it
  double age_seconds = 0;     // of its observation
};

// What became of a reply.
enum class Arrival : std::uint8_t {
  taken,    // plays
  stale,    // its time is over
  older,    // than what plays, or than what was refused
  invalid,  // of another size than those before, or not finite
  stopped,  // a guard ordered to stop
  unknown,  // nobody asked for it
};
const char* name_of(Arrival arrival) noexcept;

struct PlayerCounts {
  std::uint64_t requests = 0, taken = 0, stale = 0, older = 0, invalid = 0, refused = 0, lost = 0;
  std::uint64_t watchdog = 0;  // how often it had to act
};

class Player {
 public:
  // Throws Error(usage) naming the field that is wrong.
  explicit Player(PlayerOptions options);
  Player(Player&&) noexcept;
  Player& operator=(Player&&) noexcept;
  ~Player();

  // Whether the next chunk should be asked for.
  bool wants_request(Instant now);
  // One is, for what was observed then; returns its number, from 1. Throws Error(usage) for a moment that is yet to
  // come.
  std::uint64_t requested(Instant observed, Instant now);
  Arrival replied(std::uint64_t request, const ActionChunk& chunk, Instant now);
  void refused(std::uint64_t request, std::optional<Halt> halt, std::optional<double> retry_seconds, Instant now);
  // What is under way is lost, and will not be answered.
  void disconnected(Instant now);

  // The command of this moment.
  Motion motion(Instant now);
  // Forgets every chunk, the order to stop and what is under way; the next command comes with the next chunk.
  void reset();

  const PlayerOptions& options() const;
  const PlayerCounts& counts() const;
  // From observation to reply, the longest of the last 16; 0 before the first.
  double latency_seconds() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace nervus
