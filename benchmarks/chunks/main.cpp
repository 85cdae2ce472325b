// Jumps at the boundaries of chunks, with and without blending.
//
//   bench_chunks [RESULTS.json PLOT.svg]
//
// A jump is how far a command is from where the two before it were heading. Of each boundary the largest within the
// blend's time behind it counts, for every way alike.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "build_commit.h"
#include "chunks/plot.h"
#include "chunks/simulation.h"

namespace {

using namespace nervus::bench;
using Json = nlohmann::ordered_json;

struct Jump {
  double max = 0, rms = 0;
};

double jump_at(const Played& played, std::size_t tick, std::size_t joint) {
  const auto& commands = played.commands;
  return std::abs(commands[tick][joint] - 2 * static_cast<double>(commands[tick - 1][joint]) +
                  commands[tick - 2][joint]);
}

// Of one joint, over all boundaries.
Jump jump_of(const Played& played, std::size_t joint, std::size_t window) {
  Jump jump;
  std::size_t count = 0;
  for (const std::size_t boundary : played.boundaries) {
    if (boundary < 2) continue;
    double largest = 0;
    for (std::size_t tick = boundary; tick < std::min(boundary + window, played.commands.size()); ++tick)
      largest = std::max(largest, jump_at(played, tick, joint));
    jump.max = std::max(jump.max, largest);
    jump.rms += largest * largest;
    ++count;
  }
  jump.rms = std::sqrt(jump.rms / static_cast<double>(std::max<std::size_t>(count, 1)));
  return jump;
}

Json document_of(const Scene& scene, const Way& way, const Played& played) {
  Json joints = Json::array();
  Jump all;
  const auto window = static_cast<std::size_t>(0.2 * scene.rate) + 1;
  for (std::size_t joint = 0; joint < static_cast<std::size_t>(scene.joints); ++joint) {
    const Jump jump = jump_of(played, joint, window);
    joints.push_back({{"joint", joint}, {"max_rad", jump.max}, {"rms_rad", jump.rms}});
    all.max = std::max(all.max, jump.max);
    all.rms += jump.rms * jump.rms / scene.joints;
  }
  return {{"way", way.name},
          {"what", way.text},
          {"commands", played.commands.size()},
          {"boundaries", played.boundaries.size()},
          {"chunks_lost", played.counts.lost},
          {"standing_commands", played.standing},
          {"max_rad", all.max},
          {"rms_rad", std::sqrt(all.rms)},
          {"joints", joints}};
}

}  // namespace

int main(int argc, char** argv) {
  const Scene scene;
  Json document = {{"benchmark", "chunks"},
                   {"commit", nervus::cli::build_commit},
                   {"machine", "none: a simulation, the same numbers everywhere"},
                   {"scene",
                    {{"seconds", scene.seconds},
                     {"joints", scene.joints},
                     {"commands_per_second", scene.rate},
                     {"chunk_steps", scene.chunk_steps},
                     {"offset_rad", scene.offset},
                     {"drift_rad_per_second", scene.drift},
                     {"latency_ms", scene.latency_ms},
                     {"jitter_ms", scene.jitter_ms},
                     {"lost", scene.lost}}},
                   {"ways", Json::array()}};
  std::vector<Played> all;
  std::printf("| way | boundaries | standing | largest jump | RMS |\n|---|---|---|---|---|\n");
  for (const Way& way : ways(scene)) {
    all.push_back(play(scene, way));
    const Json& row = document["ways"].emplace_back(document_of(scene, way, all.back()));
    std::printf("| %s | %zu | %.1f %% | %.1f mrad | %.1f mrad |\n", way.name.c_str(), all.back().boundaries.size(),
                100.0 * static_cast<double>(all.back().standing) / static_cast<double>(all.back().commands.size()),
                1000 * row["max_rad"].get<double>(), 1000 * row["rms_rad"].get<double>());
  }
  if (argc == 3) {
    std::ofstream(argv[1]) << document.dump(1) << "\n";
    std::ofstream(argv[2]) << to_svg(scene, ways(scene), all);
  }
}
