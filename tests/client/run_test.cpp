// Whole runs of the player against a network that jitters, loses, delays, refuses and is gone for a while. All chunks
// of a run say the same of a moment (a position of one a second), so that a command out of its time is seen.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "client/simulated.h"

using namespace nervus;
using namespace nervus::test;

namespace {

PlayerOptions options_with(double timeout_seconds = 1, Watchdog watchdog = Watchdog::hold) {
  return {.timeout_seconds = timeout_seconds, .watchdog = watchdog};
}

// The largest distance between a command and its moment's position, from .. until.
double error_of(const Run& run, int from, int until) {
  double largest = 0;
  for (int ms = from; ms < until; ++ms)
    largest = std::max(largest, std::abs(run.commands[static_cast<std::size_t>(ms)] - ms / 1000.0));
  return largest;
}

}  // namespace

TEST_CASE("a steady network: a chunk after the other, in time") {
  Run run(options_with(), {{50}});
  CHECK(run.play(2400) == "0 waiting 0; 50 playing 1; 550 playing 2; 1050 playing 3; 1550 playing 4; 2050 playing 5");
  CHECK(run.requested == std::vector<int>{0, 500, 1000, 1500, 2000});
  CHECK(error_of(run, 50, 2400) < 1e-6);
  CHECK(run.player.counts().watchdog == 0);
}

TEST_CASE("latency jitters: requests go out as early as the slowest of late replies asks") {
  Run run(options_with(), {{50}, {300}, {20}, {700}, {90}});
  CHECK(run.play(3500) ==
        "0 waiting 0; 50 playing 1; 800 playing 2; 1020 playing 3; 2000 holding 3; 2200 playing 4; 2290 playing 5; "
        "2590 playing 6; "
        "2890 playing 7; 3190 playing 8; 3490 playing 9");
  // Chunk 3, of 1000, holds until 2000; the request of 1500 was answered at 2200. From there on 700 count.
  CHECK(run.requested == std::vector<int>{0, 500, 1000, 1500, 2200, 2500, 2800, 3100, 3400});
  // Chunk 1 stands at its last action from 980 to 1000, when it has almost no weight any more.
  CHECK(error_of(run, 50, 980) < 1e-6);
  CHECK(error_of(run, 980, 1980) < 1e-4);
  CHECK(error_of(run, 2400, 3500) < 1e-4);
}

TEST_CASE("a lost reply: asked again after the timeout, held meanwhile") {
  Run slow(options_with(1), {{50}, {0, Fate::lose}, {50}});
  CHECK(slow.play(2000) == "0 waiting 0; 50 playing 1; 1000 holding 1; 1550 playing 3");
  CHECK(slow.requested == std::vector<int>{0, 500, 1500});
  CHECK(slow.player.counts().lost == 1);
  CHECK(slow.player.counts().watchdog == 1);
  Run quick(options_with(0.2), {{50}, {0, Fate::lose}, {50}});
  CHECK(quick.play(1150) == "0 waiting 0; 50 playing 1; 750 playing 3");
  CHECK(quick.requested == std::vector<int>{0, 500, 700});
  CHECK(error_of(quick, 50, 1150) < 1e-6);
}

TEST_CASE("replies that come after their time are not played") {
  Run run(options_with(0.5), {{50}, {1200}, {1200}, {50}});
  // 2 and 3, of 500 and 1000, come at 1700 and 2200; 4, of 1500, is there before both.
  CHECK(run.play(1700) == "0 waiting 0; 50 playing 1; 1000 holding 1; 1550 playing 4");
  CHECK(run.requested == std::vector<int>{0, 500, 1000, 1500});
  run.play(2300);
  CHECK(run.player.counts().older == 2);
  // A latency of 1200 asks for a request behind each reply.
  CHECK(std::vector(run.requested.begin() + 4, run.requested.begin() + 7) == std::vector<int>{1700, 1750, 1800});
  CHECK(run.player.counts().lost == 2);
  Run never(options_with(3), {{1200}});
  CHECK(never.play(5000) == "0 waiting 0");
  CHECK(never.player.counts().stale == 4);
  CHECK(never.player.counts().taken == 0);
}

TEST_CASE("a connection that is gone: the chunk is played to its end, then held, then taken up again") {
  Run run(options_with(), {{50}});
  run.disconnect(510, 1300);
  CHECK(run.play(1800) == "0 waiting 0; 50 playing 1; 1000 holding 1; 1350 playing 3");
  CHECK(run.requested == std::vector<int>{0, 500, 1300});
  CHECK(run.player.counts().lost == 1);
  // From the pose that was held, over blend_seconds: never further ahead than the position is.
  for (int ms = 1350; ms < 1550; ++ms) {
    CHECK(run.commands[static_cast<std::size_t>(ms)] <= ms / 1000.0 + 1e-6);
    CHECK(run.commands[static_cast<std::size_t>(ms)] >= 0.98 - 1e-6);
  }
  CHECK(error_of(run, 1550, 1800) < 1e-6);
  Run brief(options_with(), {{50}});
  brief.disconnect(510, 560);
  CHECK(brief.play(1090) == "0 waiting 0; 50 playing 1; 610 playing 3");
  CHECK(error_of(brief, 50, 1090) < 1e-6);
}

TEST_CASE("a guard that holds, refuses or stops") {
  Run hold(options_with(), {{50}, {60, Fate::hold}, {40}});
  CHECK(hold.play(1000) == "0 waiting 0; 50 playing 1; 560 holding 1; 700 playing 3");
  CHECK(hold.requested == std::vector<int>{0, 500, 660});
  CHECK(hold.commands[700] == hold.commands[559]);
  Run refuse(options_with(), {{50}, {60, Fate::refuse}, {40}});
  CHECK(refuse.play(1000) == "0 waiting 0; 50 playing 1; 700 playing 3");
  CHECK(error_of(refuse, 50, 1000) < 1e-6);
  Run stop(options_with(), {{50}, {60, Fate::stop}, {40}});
  CHECK(stop.play(3000) == "0 waiting 0; 50 playing 1; 560 stopped 1");
  CHECK(stop.requested.size() == 2);
  CHECK(stop.commands[2999] == stop.commands[559]);
}

TEST_CASE("a ramp: playing, ramping, holding, and playing again") {
  Run run(options_with(1, Watchdog::ramp), {{50}, {0, Fate::lose}, {50}});
  // The last action is of 980; a ramp of 400 begins 200 before it and ends 200 behind it.
  CHECK(run.play(2000) == "0 waiting 0; 50 playing 1; 780 ramping 1; 1180 holding 1; 1550 playing 3");
  CHECK(error_of(run, 50, 780) < 1e-6);
  CHECK(run.commands[1180] == doctest::Approx(0.98));
  // Its velocity goes evenly from 1 to 0.
  for (int ms = 781; ms < 1180; ++ms) {
    const double velocity =
        500 * (run.commands[static_cast<std::size_t>(ms) + 1] - run.commands[static_cast<std::size_t>(ms) - 1]);
    CHECK(velocity == doctest::Approx(1 - (ms - 780) / 400.0).epsilon(1e-3));
  }
}

namespace {

// A random walk in a range of each chunk's own, within -1 .. 1.
ActionChunk walk(std::mt19937& random) {
  const auto share = [&] { return static_cast<float>(random() % 2001) / 1000 - 1; };
  std::vector<float> values(10 + random() % 60);
  float value = share();
  for (float& one : values) one = value = std::clamp(value + 0.01f * share(), -1.0f, 1.0f);
  return chunk(values);
}

struct Taken {
  ActionChunk chunk;
  double observed, arrived;  // in milliseconds

  double end() const { return std::min(observed + 20.0 * static_cast<double>(chunk.steps), observed + 2000); }
  // What it says of a moment, worked out again.
  double at(double ms) const {
    const double last = static_cast<double>(chunk.steps) - 1;
    const double position = std::clamp((std::min(ms, end()) - observed) / 20, 0.0, last);
    const auto from = static_cast<std::size_t>(position);
    const std::size_t to = std::min(from + 1, static_cast<std::size_t>(last));
    const double share = position - static_cast<double>(from);
    return chunk.values[from] * (1 - share) + chunk.values[to] * share;
  }
};

struct Walk {
  double largest_step = 0;        // between two commands, a millisecond apart
  double largest_error = 0;       // against all chunks since the robot stood last, blended again, none left out
  int commands = 0, outside = 0;  // of the bounds of what is blended
};

// Chunks at random times, of random age, on one joint.
Walk random_walk(unsigned seed, Blend blend) {
  std::mt19937 random(seed);
  Player player({.blend = blend, .blend_seconds = 0.2});
  std::vector<Taken> taken;
  Walk walked;
  std::optional<double> before, stood;  // the command before; where the robot stood when the first of `taken` came
  double next = 0;
  for (int ms = 0; ms < 6000; ++ms) {
    if (ms >= next) {
      const double observed = std::max(0.0, ms - static_cast<double>(random() % 300));
      ActionChunk given = walk(random);
      if (player.replied(player.requested(at(observed), at(ms)), given, at(ms)) == Arrival::taken) {
        if (!taken.empty() && ms >= taken.back().end()) {
          taken.clear();
          stood = before;
        }
        taken.push_back({std::move(given), observed, static_cast<double>(ms)});
      }
      next = ms + 1 + static_cast<double>(random() % 700);
    }
    const Motion motion = player.motion(at(ms));
    if (motion.values.empty()) continue;
    const double command = motion.values[0];
    ++walked.commands;
    const double moment = std::min<double>(ms, taken.back().end());
    double expected = stood.value_or(taken[0].at(moment)), least = expected, most = expected;
    for (std::size_t i = stood ? 0 : 1; i < taken.size(); ++i) {
      const double share = std::min(1.0, (moment - taken[i].arrived) / 200), value = taken[i].at(moment);
      const double weight = blend == Blend::latest   ? 1
                            : blend == Blend::linear ? share
                                                     : share * share * (3 - 2 * share);
      expected = expected * (1 - weight) + value * weight;
      if (weight == 1) least = most = value;
      least = std::min(least, value);
      most = std::max(most, value);
    }
    // Not a number is outside, too.
    if (!(command >= least - 1e-6 && command <= most + 1e-6)) ++walked.outside;
    walked.largest_error = std::max(walked.largest_error, std::abs(command - expected));
    if (before) walked.largest_step = std::max(walked.largest_step, std::abs(command - *before));
    before = command;
  }
  return walked;
}

}  // namespace

TEST_CASE("any chunks at any time: commands are what is blended, within its bounds, and continuous") {
  double jump = 0;
  for (unsigned seed = 1; seed <= 60; ++seed) {
    for (const Blend blend : {Blend::linear, Blend::smooth, Blend::latest}) {
      const Walk walked = random_walk(seed, blend);
      CHECK(walked.commands > 4000);
      CHECK(walked.outside == 0);
      CHECK(walked.largest_error < 1e-6);
      // A chunk moves 0.01 in 20 ms; a difference of at most 2 goes in 200 ms, at most 1.5 times as fast; three blend
      // at a time now and then.
      if (blend == Blend::latest) jump = std::max(jump, walked.largest_step);
      else CHECK(walked.largest_step < 0.0005 + 3 * 2.0 / 200 * (blend == Blend::smooth ? 1.5 : 1));
    }
  }
  CHECK(jump > 1);
}
