// Single calls of the player, with the exact command of each moment.
#include "nervus/player.h"

#include <doctest/doctest.h>

#include <cmath>

#include "checkpoint/support.h"
#include "client/simulated.h"

using namespace nervus;
using namespace nervus::test;

namespace {

PlayerOptions options_with(Blend blend = Blend::linear, Watchdog watchdog = Watchdog::hold) {
  return {.actions_per_second = 50, .blend = blend, .blend_seconds = 0.2, .watchdog = watchdog, .ramp_seconds = 0.1};
}

// A chunk observed at one time and there at another.
Arrival give(Player& player, const ActionChunk& chunk, double observed_ms, double arrived_ms) {
  return player.replied(player.requested(at(observed_ms), at(observed_ms)), chunk, at(arrived_ms));
}

double command(Player& player, double ms) {
  const Motion motion = player.motion(at(ms));
  REQUIRE(motion.values.size() == 1);
  return motion.values[0];
}

std::string state(Player& player, double ms) { return name_of(player.motion(at(ms)).state); }

}  // namespace

TEST_CASE("an action belongs to its moment behind the observation, whenever the chunk arrives") {
  Player player(options_with());
  CHECK(state(player, 0) == "waiting");
  CHECK(player.motion(at(0)).values.empty());
  CHECK(give(player, rising(10), 10, 70) == Arrival::taken);
  CHECK(command(player, 70) == 3);
  CHECK(command(player, 80) == 3.5);
  CHECK(command(player, 85) == 3.75);
  const Motion motion = player.motion(at(90));
  CHECK(motion.values[0] == 4);
  CHECK(motion.request == 1);
  CHECK(motion.weight == 1);
  CHECK(motion.age_seconds == doctest::Approx(0.08));
}

TEST_CASE("without interpolation the nearest action is the command") {
  PlayerOptions options = options_with();
  options.interpolate = false;
  Player player(options);
  give(player, rising(10), 0, 0);
  CHECK(command(player, 9) == 0);
  CHECK(command(player, 10) == 1);
  CHECK(command(player, 29) == 1);
  CHECK(command(player, 199) == 9);
}

TEST_CASE("the last action is good for its own period, then the watchdog holds it") {
  Player player(options_with());
  give(player, rising(10), 0, 0);
  CHECK(command(player, 199) == 9);
  CHECK(state(player, 199) == "playing");
  CHECK(state(player, 200) == "holding");
  CHECK(command(player, 5000) == 9);
  CHECK(player.counts().watchdog == 1);
}

TEST_CASE("an observation's age ends what was made of it") {
  PlayerOptions options = options_with();
  options.max_age_seconds = 0.1;
  Player player(options);
  give(player, rising(10), 0, 40);
  CHECK(state(player, 99) == "playing");
  CHECK(command(player, 99) == doctest::Approx(4.95));
  CHECK(state(player, 100) == "holding");
  CHECK(command(player, 180) == 5);
  CHECK(give(player, rising(10), 150, 250) == Arrival::stale);
  CHECK(give(player, rising(10), 260, 359) == Arrival::taken);
  CHECK(player.counts().stale == 1);
}

TEST_CASE("a new chunk takes over at once, evenly, or smoothly") {
  const auto commands = [](Blend blend, std::vector<double> times) {
    Player player(options_with(blend));
    give(player, constant(0), 0, 0);
    CHECK(command(player, 99) == 0);
    give(player, constant(10), 80, 100);
    std::vector<double> all;
    for (const double time : times) all.push_back(command(player, time));
    return all;
  };
  const std::vector<double> times = {100, 150, 200, 250, 300, 301};
  CHECK(commands(Blend::latest, times) == std::vector<double>{10, 10, 10, 10, 10, 10});
  CHECK(commands(Blend::linear, times) == std::vector<double>{0, 2.5, 5, 7.5, 10, 10});
  CHECK(commands(Blend::smooth, times) == std::vector<double>{0, 1.5625, 5, 8.4375, 10, 10});
}

TEST_CASE("a chunk that arrives while another takes over blends with both") {
  Player player(options_with());
  give(player, constant(0), 0, 0);
  command(player, 0);
  give(player, constant(8), 100, 100);   // full at 300
  give(player, constant(16), 200, 200);  // full at 400
  CHECK(command(player, 200) == 4);
  CHECK(command(player, 250) == 6 * 0.75 + 16 * 0.25);
  CHECK(command(player, 300) == 8 * 0.5 + 16 * 0.5);
  CHECK(command(player, 350) == 8 * 0.25 + 16 * 0.75);
  CHECK(command(player, 400) == 16);
  CHECK(player.motion(at(399)).weight == 1);  // time does not run backwards
}

TEST_CASE("what was held is blended with what comes") {
  Player player(options_with());
  give(player, rising(10), 0, 0);
  CHECK(command(player, 500) == 9);
  give(player, constant(19), 500, 520);
  CHECK(command(player, 520) == 9);
  CHECK(command(player, 620) == 14);
  CHECK(command(player, 720) == 19);
}

TEST_CASE("the first chunk has nothing to blend with") {
  Player player(options_with());
  give(player, constant(5), 0, 50);
  CHECK(command(player, 50) == 5);
}

TEST_CASE("the next chunk is asked for when so much is left") {
  const auto wanted_at = [](PlayerOptions options, double arrived) {
    Player player(options);
    CHECK(player.wants_request(at(0)));
    const std::uint64_t request = player.requested(at(0), at(0));
    CHECK(!player.wants_request(at(0)));
    player.replied(request, constant(1), at(arrived));  // 50 actions: until 1000
    double time = arrived;
    while (!player.wants_request(at(time))) ++time;
    return time;
  };
  PlayerOptions options = options_with();
  CHECK(wanted_at(options, 40) == 500);
  options.request_fraction = 0.25;
  CHECK(wanted_at(options, 40) == 750);
  options.request_actions = 5;
  CHECK(wanted_at(options, 40) == 900);
  CHECK(wanted_at(options, 300) == 700);  // as long as the last reply took
  options.request_actions = 0;
  options.request_fraction = 0;
  CHECK(wanted_at(options, 40) == 960);
  options.watchdog = Watchdog::ramp;  // slows from 930
  CHECK(wanted_at(options, 40) == 890);
  options.max_age_seconds = 0.5;  // until 500, slows from 450
  CHECK(wanted_at(options, 40) == 410);
}

TEST_CASE("an observation of the future is refused, and not counted") {
  Player player(options_with());
  const auto [kind, text] = error_of([&] { player.requested(at(5100), at(100)); });
  CHECK(kind == ErrorKind::usage);
  CHECK(text.starts_with("observed: expected a moment that is not in the future, found 5.000000 s ahead"));
  CHECK(player.counts().requests == 0);
  CHECK(player.wants_request(at(100)));
  CHECK(player.requested(at(100), at(100)) == 1);
}

TEST_CASE("the longest of the last 16 latencies counts") {
  Player player(options_with());
  CHECK(player.latency_seconds() == 0);
  give(player, constant(1), 0, 300);
  for (int i = 1; i <= 15; ++i) give(player, constant(1), 1000 * i, 1000 * i + 50);
  CHECK(player.latency_seconds() == doctest::Approx(0.3));
  give(player, constant(1), 20000, 20060);
  CHECK(player.latency_seconds() == doctest::Approx(0.06));
}

TEST_CASE("a request without a reply counts as lost; its reply is still good when it comes") {
  Player player(options_with());
  const std::uint64_t first = player.requested(at(0), at(0));
  CHECK(!player.wants_request(at(999)));
  CHECK(player.wants_request(at(1000)));
  CHECK(player.counts().lost == 1);
  const std::uint64_t second = player.requested(at(1010), at(1010));
  ActionChunk late = constant(1, 100);
  CHECK(player.replied(first, late, at(1200)) == Arrival::taken);
  CHECK(!player.wants_request(at(1200)));  // the second is under way
  CHECK(player.replied(second, constant(2), at(1300)) == Arrival::taken);
  CHECK(player.replied(second, constant(2), at(1300)) == Arrival::unknown);
  const std::uint64_t third = player.requested(at(1400), at(1400)), fourth = player.requested(at(1500), at(1500));
  CHECK(player.replied(fourth, constant(4), at(1600)) == Arrival::taken);
  CHECK(player.replied(third, constant(3), at(1610)) == Arrival::older);
  CHECK(player.counts().lost == 2);
  CHECK(player.counts().older == 1);
}

TEST_CASE("a chunk of another size, or not finite, is not played") {
  Player player(options_with());
  CHECK(give(player, chunk({1, NAN}), 0, 0) == Arrival::invalid);
  CHECK(give(player, chunk({1, INFINITY}), 1, 1) == Arrival::invalid);
  CHECK(give(player, chunk({}), 2, 2) == Arrival::invalid);
  CHECK(!player.wants_request(at(101)));  // retry_seconds
  CHECK(player.wants_request(at(102)));
  CHECK(give(player, constant(1), 200, 200) == Arrival::taken);
  CHECK(give(player, {.steps = 1, .dimensions = 2, .values = {1, 2}}, 300, 300) == Arrival::invalid);
  CHECK(give(player, {.steps = 2, .dimensions = 1, .values = {1}}, 400, 400) == Arrival::invalid);
  CHECK(command(player, 500) == 1);
  CHECK(player.counts().invalid == 5);
}

TEST_CASE("ramp: the end of the chunk is played slower and slower, and never beyond it") {
  Player player(options_with(Blend::linear, Watchdog::ramp));
  give(player, rising(11), 0, 0);  // the last action at 200; a ramp of 100 takes what 50 play
  CHECK(command(player, 150) == 7.5);
  CHECK(state(player, 149) == "ramping");  // it is 150 still
  CHECK(command(player, 175) == doctest::Approx(7.5 + 0.025 * 50 - 0.025 * 0.025 / 0.2 * 50));
  CHECK(command(player, 200) == doctest::Approx(9.375));
  CHECK(state(player, 249) == "ramping");
  CHECK(command(player, 249) == doctest::Approx(10).epsilon(1e-3));
  CHECK(state(player, 250) == "holding");
  CHECK(command(player, 250) == 10);
  CHECK(command(player, 9999) == 10);
  CHECK(player.counts().watchdog == 1);
}

TEST_CASE("callback: its command is taken, and blended with the next chunk") {
  std::vector<double> seconds;
  PlayerOptions options = options_with(Blend::linear, Watchdog::callback);
  std::vector<float> answer = {100};
  options.callback = [&](const WatchdogCall& call) {
    CHECK(call.last.size() == 1);
    CHECK(!call.stopped);
    seconds.push_back(call.seconds);
    return answer;
  };
  Player player(options);
  CHECK(state(player, 0) == "waiting");
  give(player, rising(10), 0, 0);
  CHECK(command(player, 199) == 9);
  CHECK(seconds.empty());
  CHECK(command(player, 210) == 100);
  CHECK(state(player, 230) == "callback");
  CHECK(seconds == std::vector<double>{0, 0.02});
  answer = {NAN};
  CHECK(command(player, 240) == 100);
  CHECK(state(player, 240) == "holding");
  answer = {1, 2};
  CHECK(command(player, 250) == 100);
  give(player, constant(0), 240, 250);
  CHECK(command(player, 250) == 100);
  CHECK(command(player, 350) == 50);
  CHECK(command(player, 450) == 0);
}

TEST_CASE("a guard's order to hold acts at once, until there is a newer chunk") {
  Player player(options_with());
  give(player, rising(50), 0, 0);
  CHECK(command(player, 100) == 5);
  const std::uint64_t old = player.requested(at(90), at(90)), refused = player.requested(at(100), at(100));
  player.refused(refused, Halt::hold, std::nullopt, at(110));
  CHECK(state(player, 110) == "holding");
  CHECK(command(player, 120) == 5);
  CHECK(player.replied(old, rising(50), at(130)) == Arrival::older);
  CHECK(state(player, 130) == "holding");
  CHECK(!player.wants_request(at(209)));
  CHECK(player.wants_request(at(210)));
  give(player, constant(15), 210, 220);
  CHECK(command(player, 220) == 5);
  CHECK(command(player, 320) == 10);
  CHECK(state(player, 420) == "playing");
  // An order for what was seen before the chunk that plays is out of date.
  const std::uint64_t before = player.requested(at(430), at(430));
  give(player, constant(15), 440, 450);
  player.refused(before, Halt::hold, std::nullopt, at(460));
  CHECK(state(player, 460) == "playing");
}

TEST_CASE("a guard's order to stop holds until reset") {
  Player player(options_with());
  give(player, rising(50), 0, 0);
  CHECK(command(player, 100) == 5);
  const std::uint64_t next = player.requested(at(100), at(100)), refused = player.requested(at(101), at(101));
  player.refused(refused, Halt::stop, std::nullopt, at(110));
  CHECK(state(player, 110) == "stopped");
  CHECK(command(player, 5000) == 5);
  CHECK(!player.wants_request(at(5000)));
  CHECK(player.replied(next, rising(50), at(5000)) == Arrival::stopped);
  CHECK(state(player, 5010) == "stopped");
  player.reset();
  CHECK(state(player, 5020) == "waiting");
  CHECK(player.motion(at(5020)).values.empty());
  CHECK(player.wants_request(at(5020)));
  give(player, constant(7), 5020, 5030);
  CHECK(command(player, 5030) == 7);
}

TEST_CASE("a guard's order to stop before the first chunk leaves no command") {
  Player player(options_with());
  player.refused(player.requested(at(0), at(0)), Halt::stop, std::nullopt, at(10));
  CHECK(state(player, 10) == "stopped");
  CHECK(player.motion(at(20)).values.empty());
}

TEST_CASE("with a ramp, a guard's order slows the path down from where it is") {
  Player player(options_with(Blend::linear, Watchdog::ramp));
  give(player, rising(50), 0, 0);
  CHECK(command(player, 100) == 5);
  player.refused(player.requested(at(100), at(100)), Halt::stop, std::nullopt, at(100));
  CHECK(state(player, 100) == "ramping");
  CHECK(command(player, 150) == doctest::Approx(5 + (0.05 - 0.05 * 0.05 / 0.2) * 50));
  CHECK(state(player, 199) == "ramping");
  CHECK(command(player, 200) == 7.5);
  CHECK(state(player, 200) == "stopped");
  CHECK(command(player, 9999) == 7.5);
}

TEST_CASE("a loop that was late takes up no end of a chunk that is too old by then") {
  for (const Watchdog watchdog : {Watchdog::hold, Watchdog::ramp}) {
    Player player(options_with(Blend::linear, watchdog));  // max_age_seconds = 2
    give(player, rising(50), 0, 0);
    CHECK(command(player, 100) == 5);
    CHECK(state(player, 5000) == "holding");
    CHECK(command(player, 5000) == 5);
    CHECK(player.counts().watchdog == 1);
    give(player, constant(15), 5000, 5000);
    CHECK(command(player, 5000) == 5);
    CHECK(command(player, 5100) == 10);
    CHECK(command(player, 7000) == 15);  // as old as it may be: its end
    // Nothing was commanded at all.
    Player late(options_with(Blend::linear, watchdog));
    give(late, rising(50), 0, 0);
    const Motion motion = late.motion(at(2001));
    CHECK(motion.state == MotionState::waiting);
    CHECK(motion.values.empty());
    CHECK(motion.request == 0);
    CHECK(late.counts().watchdog == 0);
    CHECK(late.wants_request(at(2001)));
    give(late, constant(7), 2001, 2010);
    CHECK(command(late, 2010) == 7);
    Player just(options_with(Blend::linear, watchdog));
    give(just, rising(50), 0, 0);
    CHECK(command(just, 2000) == 49);
    CHECK(command(just, 9999) == 49);
  }
}

TEST_CASE("callback: a loop that was late gets the callback's command, from what was commanded last") {
  std::vector<float> lasts;
  PlayerOptions options = options_with(Blend::linear, Watchdog::callback);
  options.callback = [&](const WatchdogCall& call) {
    lasts.push_back(call.last.at(0));
    return std::vector<float>{lasts.size() == 1 ? 100.0f : NAN};
  };
  Player player(options);
  give(player, rising(50), 0, 0);
  CHECK(command(player, 100) == 5);
  CHECK(command(player, 5000) == 100);
  CHECK(command(player, 5020) == 100);  // what is not finite is not taken
  CHECK(lasts == std::vector<float>{5, 100});
  Player late(options);
  give(late, rising(50), 0, 0);
  CHECK(state(late, 5000) == "waiting");
  CHECK(lasts.size() == 2);
}

TEST_CASE("a robot that stands is moved by no blend that had begun") {
  SUBCASE("behind an order to stop") {
    PlayerOptions options = options_with(Blend::linear, Watchdog::ramp);
    options.blend_seconds = 1;
    Player player(options);
    give(player, constant(0), 0, 0);
    CHECK(command(player, 0) == 0);
    give(player, constant(10), 100, 150);
    CHECK(command(player, 200) == 0.5f);
    player.refused(player.requested(at(205), at(205)), Halt::stop, std::nullopt, at(210));
    CHECK(state(player, 309) == "ramping");
    for (const double time : {310, 500, 1160, 9999}) {
      const Motion motion = player.motion(at(time));
      CHECK(name_of(motion.state) == std::string("stopped"));
      CHECK(motion.values[0] == doctest::Approx(1.6));  // 160 of 1000 ms
      CHECK(motion.weight == doctest::Approx(0.16));
    }
  }
  SUBCASE("behind a chunk's end, and the next chunk blends with the pose that was kept") {
    Player player({});
    give(player, constant(0), 0, 0);
    CHECK(command(player, 979) == 0);
    give(player, constant(10), 0.5, 980);
    CHECK(state(player, 1000) == "playing");
    const double kept = command(player, 1001);
    CHECK(kept == doctest::Approx(0.287).epsilon(0.01));  // 20.5 of 200 ms, smoothly
    for (const double time : {1010, 1180, 1181, 1500}) {
      CHECK(command(player, time) == kept);
      CHECK(state(player, time) == "holding");
    }
    give(player, constant(20), 1500, 1510);
    CHECK(command(player, 1510) == kept);
    CHECK(command(player, 1610) == doctest::Approx((kept + 20) / 2));
    CHECK(command(player, 1710) == 20);
  }
  SUBCASE("of a chunk that stood before it came") {
    PlayerOptions options = options_with(Blend::linear, Watchdog::ramp);
    options.ramp_seconds = 0.01;
    Player player(options);
    give(player, constant(0), 0, 0);
    CHECK(command(player, 980) == 0);
    CHECK(give(player, constant(10, 5), 890, 985) == Arrival::taken);  // stands at 975
    CHECK(state(player, 985) == "holding");
    CHECK(command(player, 989) == 0);
  }
}

TEST_CASE("a callback is told of an order to stop") {
  PlayerOptions options = options_with(Blend::linear, Watchdog::callback);
  bool stopped = false;
  options.callback = [&](const WatchdogCall& call) {
    stopped = call.stopped;
    return std::vector<float>{42};
  };
  Player player(options);
  give(player, rising(50), 0, 0);
  command(player, 100);
  player.refused(player.requested(at(100), at(100)), Halt::stop, std::nullopt, at(100));
  CHECK(state(player, 110) == "stopped");
  CHECK(command(player, 120) == 42);
  CHECK(stopped);
}

TEST_CASE("a refusal's own time is kept before the next request") {
  Player player(options_with());
  player.refused(player.requested(at(0), at(0)), std::nullopt, 0.5, at(10));
  CHECK(!player.wants_request(at(509)));
  CHECK(player.wants_request(at(510)));
  CHECK(player.counts().refused == 1);
  player.refused(99, std::nullopt, 0.5, at(520));
  CHECK(player.counts().refused == 1);
}

TEST_CASE("what is under way when the connection ends is lost, and what plays goes on") {
  Player player(options_with());
  give(player, rising(50), 0, 0);
  const std::uint64_t request = player.requested(at(100), at(100));
  player.disconnected(at(110));
  CHECK(player.counts().lost == 1);
  CHECK(command(player, 120) == 6);
  CHECK(player.replied(request, constant(1), at(130)) == Arrival::unknown);
  CHECK(command(player, 140) == 7);
}

TEST_CASE("options that are wrong are named") {
  const auto said = [](PlayerOptions options) { return error_of([&] { Player{options}; }); };
  const auto of = [](auto change) {
    PlayerOptions options;
    change(options);
    return options;
  };
  const auto rate = said(of([](PlayerOptions& o) { o.actions_per_second = 0; }));
  CHECK(rate.first == ErrorKind::usage);
  CHECK(rate.second.starts_with("actions_per_second: expected a number from 0.001"));
  CHECK(said(of([](PlayerOptions& o) { o.blend_seconds = NAN; })).second.starts_with("blend_seconds: "));
  CHECK(said(of([](PlayerOptions& o) { o.max_age_seconds = 0; })).second.starts_with("max_age_seconds: "));
  CHECK(said(of([](PlayerOptions& o) { o.request_fraction = 1.5; })).second.starts_with("request_fraction: "));
  CHECK(said(of([](PlayerOptions& o) { o.request_actions = -1; })).second.starts_with("request_actions: "));
  CHECK(said(of([](PlayerOptions& o) { o.timeout_seconds = -1; })).second.starts_with("timeout_seconds: "));
  CHECK(said(of([](PlayerOptions& o) { o.retry_seconds = -1; })).second.starts_with("retry_seconds: "));
  CHECK(said(of([](PlayerOptions& o) { o.ramp_seconds = 0; })).second.starts_with("ramp_seconds: "));
  CHECK(said(of([](PlayerOptions& o) { o.watchdog = Watchdog::callback; })).second ==
        "callback: expected a function, since the watchdog is 'callback', found none");
}
