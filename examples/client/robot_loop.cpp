// A robot of 14 joints that is not there: its loop of 50 commands a second, driven by a policy server.
#include <nervus/client.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

struct Robot {
  std::vector<float> joints = std::vector<float>(14);
  double largest_step = 0;

  nervus::Observation look() const {
    nervus::Observation observation{.state = joints, .prompt = "Pick up the red cube."};
    for (const char* camera : {"cam_high", "cam_left_wrist", "cam_right_wrist"})
      observation.images[camera] = {.width = 224, .height = 224, .rgb = std::vector<std::uint8_t>(224 * 224 * 3, 128)};
    return observation;
  }
  void move(const std::vector<float>& command) {
    for (std::size_t i = 0; i < joints.size(); ++i) {
      largest_step = std::max<double>(largest_step, std::abs(command.at(i) - joints[i]));
      joints[i] = command[i];
    }
  }
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) throw nervus::Error(nervus::ErrorKind::usage, "usage: robot_loop HOST PORT [SECONDS]");
  const double seconds = argc > 3 ? std::atof(argv[3]) : 10;

  nervus::ClientOptions options;
  options.host = argv[1];
  options.port = std::atoi(argv[2]);
  options.player.actions_per_second = 50;
  options.player.watchdog = nervus::Watchdog::ramp;
  options.log = [](const std::string& line) { std::fprintf(stderr, "robot_loop: %s\n", line.c_str()); };
  nervus::Client client(options);

  Robot robot;
  int commands = 0, late = 0;
  const auto period = std::chrono::milliseconds(20);
  const Clock::time_point begin = Clock::now();
  for (Clock::time_point next = begin; std::chrono::duration<double>(next - begin).count() < seconds; next += period) {
    std::this_thread::sleep_until(next);
    if (client.wants_observation()) client.observe(robot.look());
    const nervus::Motion motion = client.motion();
    if (motion.state == nervus::MotionState::stopped) break;  // the server's guard wants a person to look
    if (!motion.values.empty()) robot.move(motion.values);
    commands += motion.values.empty() ? 0 : 1;
    late += Clock::now() > next + period ? 1 : 0;
  }

  const nervus::ClientStatus status = client.status();
  std::printf("%d commands from %llu chunks, largest step %.4f, %d late; latency %.1f ms; watchdog %llu times\n",
              commands, static_cast<unsigned long long>(status.counts.taken), robot.largest_step, late,
              1000 * status.latency_seconds, static_cast<unsigned long long>(status.counts.watchdog));
  if (status.counts.taken == 0) throw nervus::Error(nervus::ErrorKind::io, "no chunk was played: " + status.problem);
} catch (const nervus::Error& error) {
  std::fprintf(stderr, "robot_loop: %s\n", error.what());
  return nervus::exit_code(error.kind());
}
