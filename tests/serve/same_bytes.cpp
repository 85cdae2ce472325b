// What clients_test.sh does in C++: writes the actions for an observation of examples/aloha, as they lie in memory.
//
//   same_bytes CHECKPOINT ALOHA SEED
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "nervus/image_file.h"
#include "nervus/policy.h"

int main(int, char** arguments) {
  try {
    const std::filesystem::path aloha = arguments[2];
    nervus::Policy policy =
        nervus::Policy::load(arguments[1], {.robot = "aloha", .norm_stats = aloha / "norm_stats.json"});
    nervus::Observation observation;
    for (const std::string& camera : policy.info().cameras)
      observation.images[camera] = nervus::read_image(aloha / (camera + ".png"));
    std::ifstream state(aloha / "state.json"), prompt(aloha / "prompt.txt");
    nlohmann::json::parse(state).at("state").get_to(observation.state);
    std::getline(prompt, observation.prompt);
    const nervus::ActionChunk chunk = policy.infer(observation, {.seed = std::stoull(arguments[3])});
    std::cout.write(reinterpret_cast<const char*>(chunk.values.data()),
                    static_cast<std::streamsize>(chunk.values.size() * sizeof(float)));
    return std::cout.good() ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
