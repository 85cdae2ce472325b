#include "nervus/policy.h"

#include <chrono>

#include "runtime/engine.h"
#include "runtime/observation_inputs.h"

namespace nervus {

struct Policy::Implementation {
  Implementation(const std::filesystem::path& directory, const LoadOptions& options)
      : start(std::chrono::steady_clock::now()),
        engine(directory, options),
        observations(engine.checkpoint(), engine.model().shape(), engine.model().limits(), options) {
    const ModelShape& shape = engine.model().shape();
    info = {.family = engine.family(),
            .device = engine.device().description(),
            .precision = options.precision,
            .steps = engine.steps(),
            .chunk_steps = shape.chunk,
            .state_dimensions = observations.state_dimensions(),
            .action_dimensions = observations.action_dimensions(),
            .joints = observations.joints(),
            .cameras = shape.cameras,
            .limits = engine.model().limits(),
            .weight_bytes = engine.weight_bytes(),
            .workspace_bytes = engine.workspace_bytes(),
            .device_bytes = engine.device().memory(),
            .graphs = static_cast<std::int64_t>(engine.graphs()),
            .load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
            .linear_plan = engine.device().plan(),
            .attention_plan = engine.device().attention_plan()};
  }

  ActionChunk infer(const Inputs& inputs, const InferOptions& options, bool robot_units, StageTimes times) {
    const std::size_t schedule = engine.schedule_of(options.steps);
    timed(times, "total", [&] {
      timed(times, "preprocess", [&] { engine.begin(inputs, options); });
      engine.run(schedule, options.keep_prefix);
    });
    Array actions = timed(times, "total", [&] { return engine.actions(); });
    engine.add_times(times, options.keep_prefix);
    ActionChunk chunk = timed(times, "postprocess", [&] { return observations.postprocess(actions, robot_units); });
    times["total"] += times["postprocess"];
    chunk.timing = times;
    return chunk;
  }

  std::chrono::steady_clock::time_point start;
  Engine engine;
  ObservationInputs observations;
  PolicyInfo info;
};

Policy::Policy(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
Policy::~Policy() = default;

Policy Policy::load(const std::filesystem::path& directory, const LoadOptions& options) {
  return Policy(std::make_unique<Implementation>(directory, options));
}

ActionChunk Policy::infer(const Observation& observation, const InferOptions& options) {
  StageTimes times;
  const Inputs inputs = timed(
      times, "preprocess", [&] { return implementation_->observations.preprocess(observation, options.keep_prefix); });
  times["total"] = times["preprocess"];
  return implementation_->infer(inputs, options, true, times);
}

ActionChunk Policy::infer(const Inputs& inputs, const InferOptions& options) {
  return implementation_->infer(inputs, options, false, {});
}

Inputs Policy::preprocess(const Observation& observation) const {
  return implementation_->observations.preprocess(observation, false);
}

std::map<std::string, Array> Policy::trace(const Inputs& inputs, const std::vector<float>& times) {
  Engine& engine = implementation_->engine;
  engine.upload(inputs, {});
  engine.model().vision();
  engine.model().prefix();
  std::map<std::string, Array> trace = engine.model().trace_prefix(engine.device());
  std::vector<Array> velocities = engine.model().trace_velocity(engine.device(), engine.checkpoint(), times);
  for (std::size_t i = 0; i < times.size(); ++i) {
    std::string t = std::to_string(times[i]);
    t.erase(t.find_last_not_of('0') + 1);
    if (t.ends_with('.')) t.pop_back();
    trace["velocity.t" + t] = std::move(velocities[i]);
  }
  for (std::size_t i = 0; i < engine.steps().size(); ++i) {
    engine.model().denoise(i);
    trace["actions." + std::to_string(engine.steps()[i])] = engine.actions();
  }
  return trace;
}

std::vector<OpRecord> Policy::profile(const Inputs& inputs, const InferOptions& options) {
  Engine& engine = implementation_->engine;
  const std::size_t schedule = engine.schedule_of(options.steps);
  engine.upload(inputs, options);
  return engine.profile(schedule);
}

const PolicyInfo& Policy::info() const { return implementation_->info; }

}  // namespace nervus
