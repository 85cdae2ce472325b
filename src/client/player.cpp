#include "nervus/player.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>

#include "client/path.h"
#include "client/range.h"
#include "core/message.h"

namespace nervus {

using client::check_range;
using client::Duration;
using client::from_seconds;
using client::Path;
using client::to_seconds;

namespace {

constexpr std::size_t latencies_kept = 16;
constexpr std::size_t most_unanswered = 64;  // requests that are lost, but whose reply may still come

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

void check_options(const PlayerOptions& options) {
  constexpr double shortest = 1e-3, longest = 3600;
  check_range("actions_per_second", options.actions_per_second, 1e-3, 1e6);
  check_range("blend_seconds", options.blend_seconds, 0, longest);
  check_range("max_age_seconds", options.max_age_seconds, shortest, longest);
  check_range("request_fraction", options.request_fraction, 0, 1);
  check_range("request_actions", options.request_actions, 0, 1e6);
  check_range("timeout_seconds", options.timeout_seconds, shortest, longest);
  check_range("retry_seconds", options.retry_seconds, 0, longest);
  check_range("ramp_seconds", options.ramp_seconds, shortest, longest);
  if (options.watchdog == Watchdog::callback && !options.callback)
    fail(ErrorKind::usage, "callback: expected a function, since the watchdog is 'callback', found none");
}

// One chunk that plays, and how it took over from those before it.
struct Layer {
  Path path;
  std::uint64_t request = 0;
  Instant observed, began;
  Duration blend = {};
  double seconds = 0;  // of the whole chunk

  double weight(Instant now, Blend shape) const {
    if (blend == Duration::zero() || now - began >= blend) return 1;
    const double share = std::max(0.0, to_seconds(now - began) / to_seconds(blend));
    return shape == Blend::linear ? share : share * share * (3 - 2 * share);
  }
};

}  // namespace

const char* name_of(MotionState state) noexcept {
  constexpr const char* names[] = {"waiting", "playing", "ramping", "holding", "callback", "stopped"};
  return names[static_cast<std::size_t>(state)];
}

const char* name_of(Arrival arrival) noexcept {
  constexpr const char* names[] = {"taken", "stale", "older", "invalid", "stopped", "unknown"};
  return names[static_cast<std::size_t>(arrival)];
}

struct Player::Implementation {
  explicit Implementation(PlayerOptions o) : options(std::move(o)) { check_options(options); }

  struct Request {
    Instant observed, sent;
  };

  void advance(Instant to) {
    now = std::max(now, to);
    if (under_way && now - requests.at(*under_way).sent >= from_seconds(options.timeout_seconds)) {
      under_way.reset();
      ++counts.lost;
    }
  }

  bool is_valid(const ActionChunk& chunk) const {
    return chunk.steps > 0 && chunk.dimensions > 0 && (dimensions == 0 || chunk.dimensions == dimensions) &&
           chunk.values.size() == static_cast<std::size_t>(chunk.steps * chunk.dimensions) && all_finite(chunk.values);
  }

  Arrival take(std::uint64_t request, Instant observed, const ActionChunk& chunk);
  void halt(Halt order);
  void prune();
  std::vector<float> blended() const;
  void stand(Motion& motion) const;

  // The moment that commands are of: once the newest path stands, nothing else moves the robot either.
  Instant moment() const {
    const bool moves = !layers.empty() && layers.back().path.moves();
    return moves ? std::min(now, layers.back().path.stands()) : now;
  }

  // Whether the end of the newest chunk may be commanded where its actions were not: a loop that was late may find it
  // long over.
  bool has_end() const {
    return !layers.empty() && now - layers.back().observed <= from_seconds(options.max_age_seconds);
  }

  // Of the newest chunk, without an order to stop.
  MotionState state() const {
    const MotionState standing = last.empty() && !has_end() ? MotionState::waiting : MotionState::holding;
    if (layers.empty() || !layers.back().path.moves()) return standing;
    const Path& path = layers.back().path;
    if (options.watchdog != Watchdog::ramp) return now < path.end() ? MotionState::playing : standing;
    if (now < path.slows()) return MotionState::playing;
    return now < path.stands() ? MotionState::ramping : standing;
  }

  const PlayerOptions options;
  PlayerCounts counts;
  Instant now = Instant::min();
  std::uint64_t last_request = 0;
  std::map<std::uint64_t, Request> requests;  // that have no reply yet
  std::optional<std::uint64_t> under_way;     // of them, what the next one waits for
  Instant not_before = Instant::min();        // the next request
  std::deque<double> latencies;
  std::vector<Layer> layers;  // the oldest first; all weights but the first's count
  std::int64_t dimensions = 0;
  std::optional<Instant> newest;      // observation that was answered with actions, or with an order
  std::vector<float> last;            // command
  std::optional<Instant> idle_since;  // when the last valid action ended
  bool stopped = false;
};

Arrival Player::Implementation::take(std::uint64_t request, Instant observed, const ActionChunk& chunk) {
  if (stopped) return Arrival::stopped;
  if (!is_valid(chunk)) return Arrival::invalid;
  if (newest && observed <= *newest) return Arrival::older;
  Path path(chunk.values, static_cast<std::size_t>(chunk.dimensions), observed, options);
  if (now >= path.end()) return Arrival::stale;
  prune();
  dimensions = chunk.dimensions;
  newest = observed;
  const bool blends = options.blend != Blend::latest && !last.empty();
  // A robot that stands is where it was commanded to last, whatever the chunks or the callback said.
  if (state() == MotionState::holding) layers.clear();
  if (layers.empty() && blends) layers.push_back({.path = Path::still(last), .observed = observed, .began = now});
  layers.push_back({.path = std::move(path),
                    .request = request,
                    .observed = observed,
                    .began = now,
                    .blend = blends ? from_seconds(options.blend_seconds) : Duration::zero(),
                    .seconds = static_cast<double>(chunk.steps) / options.actions_per_second});
  return Arrival::taken;
}

void Player::Implementation::halt(Halt order) {
  stopped = stopped || order == Halt::stop;
  if (options.watchdog == Watchdog::ramp) {
    for (Layer& layer : layers)
      if (layer.path.moves()) layer.path.stop(now);
  } else if (!layers.empty()) {
    const Layer& layer = layers.back();
    layers = {{.path = Path::still(last), .request = layer.request, .observed = layer.observed, .began = now}};
    if (last.empty()) layers.clear();
  }
}

// What a full weight hides is not needed any more.
void Player::Implementation::prune() {
  for (std::size_t i = layers.size(); i-- > 1;)
    if (layers[i].weight(moment(), options.blend) >= 1) {
      layers.erase(layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(i));
      return;
    }
}

std::vector<float> Player::Implementation::blended() const {
  const Instant moment = this->moment();
  std::vector<float> pose = layers.front().path.at(moment);
  for (std::size_t i = 1; i < layers.size(); ++i) {
    const std::vector<float> next = layers[i].path.at(moment);
    const auto weight = static_cast<float>(layers[i].weight(moment, options.blend));
    for (std::size_t joint = 0; joint < pose.size(); ++joint) pose[joint] = std::lerp(pose[joint], next[joint], weight);
  }
  return pose;
}

// Nothing moves, unless the callback does.
void Player::Implementation::stand(Motion& motion) const {
  motion.values = last;
  if (options.watchdog != Watchdog::callback || last.empty()) {
    if (has_end()) motion.values = blended();
    return;
  }
  std::vector<float> pose =
      options.callback({.now = now, .seconds = to_seconds(now - *idle_since), .last = last, .stopped = stopped});
  if (pose.size() != last.size() || !all_finite(pose)) return;
  motion.state = MotionState::callback;
  motion.values = std::move(pose);
}

Player::Player(PlayerOptions options) : implementation_(std::make_unique<Implementation>(std::move(options))) {}
Player::Player(Player&&) noexcept = default;
Player& Player::operator=(Player&&) noexcept = default;
Player::~Player() = default;

bool Player::wants_request(Instant now) {
  Implementation& my = *implementation_;
  my.advance(now);
  if (my.stopped || my.under_way || my.now < my.not_before) return false;
  if (my.layers.empty() || !my.layers.back().path.moves()) return true;
  const Layer& layer = my.layers.back();
  double lead = my.options.request_fraction * layer.seconds;
  if (my.options.request_actions > 0) lead = my.options.request_actions / my.options.actions_per_second;
  return to_seconds(layer.path.end() - my.now) <= lead ||
         to_seconds(std::min(layer.path.end(), layer.path.slows()) - my.now) <= latency_seconds();
}

std::uint64_t Player::requested(Instant observed, Instant now) {
  Implementation& my = *implementation_;
  // Its first action would play until that moment, with neither a request nor the watchdog behind it.
  if (observed > std::max(my.now, now))
    fail(ErrorKind::usage, "observed: expected a moment that is not in the future, found ",
         to_seconds(observed - std::max(my.now, now)),
         " s ahead; it is of the clock of motion() (std::chrono::steady_clock, Python's time.monotonic())");
  my.advance(now);
  if (my.under_way) ++my.counts.lost;
  ++my.counts.requests;
  my.requests[++my.last_request] = {observed, my.now};
  if (my.requests.size() > most_unanswered) my.requests.erase(my.requests.begin());
  my.under_way = my.last_request;
  return my.last_request;
}

Arrival Player::replied(std::uint64_t request, const ActionChunk& chunk, Instant now) {
  Implementation& my = *implementation_;
  my.advance(now);
  const auto found = my.requests.find(request);
  if (found == my.requests.end()) return Arrival::unknown;
  const Instant observed = found->second.observed;
  my.requests.erase(found);
  if (my.under_way == request) my.under_way.reset();
  my.latencies.push_back(to_seconds(my.now - observed));
  if (my.latencies.size() > latencies_kept) my.latencies.pop_front();
  const Arrival arrival = my.take(request, observed, chunk);
  if (arrival == Arrival::invalid) my.not_before = my.now + from_seconds(my.options.retry_seconds);
  std::uint64_t* const counts[] = {&my.counts.taken, &my.counts.stale, &my.counts.older, &my.counts.invalid};
  if (static_cast<std::size_t>(arrival) < std::size(counts)) ++*counts[static_cast<std::size_t>(arrival)];
  return arrival;
}

void Player::refused(std::uint64_t request, std::optional<Halt> halt, std::optional<double> retry_seconds,
                     Instant now) {
  Implementation& my = *implementation_;
  my.advance(now);
  const auto found = my.requests.find(request);
  if (found == my.requests.end()) return;
  const Instant observed = found->second.observed;
  my.requests.erase(found);
  ++my.counts.refused;
  if (my.under_way == request) {
    my.under_way.reset();
    my.not_before = my.now + from_seconds(std::clamp(retry_seconds.value_or(my.options.retry_seconds), 0.0, 3600.0));
  }
  // A newer observation may move the robot again; only reset() ends a stop.
  if (!halt || (*halt == Halt::hold && my.newest && observed < *my.newest)) return;
  my.newest = std::max(my.newest.value_or(observed), observed);
  my.halt(*halt);
}

void Player::disconnected(Instant now) {
  Implementation& my = *implementation_;
  my.advance(now);
  if (my.under_way) ++my.counts.lost;
  my.under_way.reset();
  my.requests.clear();
}

Motion Player::motion(Instant now) {
  Implementation& my = *implementation_;
  my.advance(now);
  Motion motion{.state = my.state()};
  const bool is_valid = motion.state == MotionState::playing;
  if (is_valid || motion.state == MotionState::waiting) {
    my.idle_since.reset();
  } else if (!my.idle_since) {
    my.idle_since = my.now;
    ++my.counts.watchdog;
  }
  if (!my.layers.empty() && motion.state != MotionState::waiting) {
    const Layer& layer = my.layers.back();
    motion.request = layer.request;
    motion.weight = layer.weight(my.moment(), my.options.blend);
    motion.age_seconds = to_seconds(my.now - layer.observed);
  }
  my.prune();
  if (motion.state == MotionState::playing || motion.state == MotionState::ramping) {
    motion.values = my.blended();
  } else {
    if (motion.state == MotionState::holding) my.stand(motion);
    if (my.stopped) motion.state = MotionState::stopped;
  }
  my.last = motion.values;
  return motion;
}

void Player::reset() {
  Implementation& my = *implementation_;
  disconnected(my.now);
  my.layers.clear();
  my.last.clear();
  my.newest.reset();
  my.idle_since.reset();
  my.not_before = Instant::min();
  my.dimensions = 0;
  my.stopped = false;
}

const PlayerOptions& Player::options() const { return implementation_->options; }
const PlayerCounts& Player::counts() const { return implementation_->counts; }

double Player::latency_seconds() const {
  const std::deque<double>& latencies = implementation_->latencies;
  return latencies.empty() ? 0 : *std::max_element(latencies.begin(), latencies.end());
}

}  // namespace nervus
