// Loads a policy, shows it one grey moment, and prints the first action that it would take.
#include <nervus/policy.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 2) throw nervus::Error(nervus::ErrorKind::usage, "usage: first_action CHECKPOINT");
  nervus::LoadOptions options;
  options.robot = "aloha";
  nervus::Policy policy = nervus::Policy::load(argv[1], options);

  nervus::Observation observation;
  for (const std::string& camera : policy.info().cameras)
    observation.images[camera] = {.width = 640, .height = 480, .rgb = std::vector<std::uint8_t>(640 * 480 * 3, 128)};
  observation.state.resize(policy.info().state_dimensions);
  observation.prompt = "Pick up the red cube.";

  const nervus::ActionChunk chunk = policy.infer(observation, {.seed = 1});
  for (int joint = 0; joint < chunk.dimensions; ++joint)
    std::printf("%-24s %9.4f %s\n", chunk.names[joint].c_str(), chunk.values[joint], chunk.units[joint].c_str());
} catch (const nervus::Error& error) {
  std::fprintf(stderr, "first_action: %s\n", error.what());
  return nervus::exit_code(error.kind());
}
