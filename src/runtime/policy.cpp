#include "nervus/policy.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "core/message.h"
#include "preprocess/noise.h"
#include "runtime/engine.h"
#include "runtime/inputs.h"
#include "runtime/observation_inputs.h"

namespace nervus {
namespace {

void check_batch(std::size_t observations, std::span<const InferOptions> options, std::int64_t most) {
  const auto count = static_cast<std::int64_t>(observations);
  if (count < 1 || count > most)
    fail(ErrorKind::input, "observations: expected 1 to ", most, ", found ", count,
         ": raise LoadOptions::limits.batch");
  if (options.size() != observations)
    fail(ErrorKind::usage, "options: expected one an observation, ", count, ", found ", options.size());
  for (const InferOptions& one : options)
    if (one.steps != options.front().steps || one.keep_prefix || is_given(one.noise))
      fail(ErrorKind::usage, "options of a batch: expected the same steps, no kept prefix and no noise");
}

}  // namespace

struct Policy::Implementation {
  Implementation(const std::filesystem::path& directory, const LoadOptions& options)
      : start(std::chrono::steady_clock::now()),
        engine(directory, options, nullptr, false,
               [&](const Checkpoint& checkpoint, const ModelShape& shape, const Limits& limits, Device& device) {
                 observations.emplace(checkpoint, shape, limits, options, device.crew());
               }) {
    const ModelShape& shape = engine.model().shape();
    info = {.family = engine.family(),
            .device = engine.device().description(),
            .precision = options.precision,
            .steps = engine.steps(),
            .chunk_steps = shape.chunk,
            .state_dimensions = observations->state_dimensions(),
            .action_dimensions = observations->action_dimensions(),
            .joints = observations->joints(),
            .cameras = shape.cameras,
            .image_side = shape.image_side,
            .patch_values = shape.patches.values(),
            .vocabulary = shape.vocabulary,
            .limits = engine.model().limits(),
            .weight_bytes = engine.weight_bytes(),
            .workspace_bytes = engine.workspace_bytes(),
            .device_bytes = engine.device().memory(),
            .graphs = static_cast<std::int64_t>(engine.graphs()),
            .load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
            .linear_plan = engine.linear_plan(),
            .attention_plan = engine.device().attention_plan()};
  }

  // What the stages make of the inputs, and adds what they took; but for postprocess.
  Array compute(const Inputs& inputs, const InferOptions& options, StageTimes& times) {
    const std::size_t schedule = engine.schedule_of(options.steps);
    timed(times, "total", [&] {
      timed(times, "preprocess", [&] { engine.begin(inputs, options); });
      engine.run(schedule, options.keep_prefix);
    });
    Array actions = timed(times, "total", [&] { return engine.actions(); });
    engine.add_times(times, options.keep_prefix);
    return actions;
  }

  ActionChunk finish(const Array& actions, bool robot_units, StageTimes times) const {
    ActionChunk chunk = timed(times, "postprocess", [&] { return observations->postprocess(actions, robot_units); });
    times["total"] += times["postprocess"];
    chunk.timing = times;
    return chunk;
  }

  std::chrono::steady_clock::time_point start;
  std::optional<ObservationInputs> observations;  // there before the engine has read its weights
  Engine engine;
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
  const Inputs inputs = timed(times, "preprocess", [&] {
    return implementation_->observations->preprocess({&observation, 1}, options.keep_prefix);
  });
  times["total"] = times["preprocess"];
  const Array actions = implementation_->compute(inputs, options, times);
  return implementation_->finish(actions, true, times);
}

ActionChunk Policy::infer(const Inputs& inputs, const InferOptions& options) {
  StageTimes times;
  const Array actions = implementation_->compute(inputs, options, times);
  return implementation_->finish(actions, false, times);
}

std::vector<ActionChunk> Policy::infer_batch(std::span<const Observation> observations,
                                             std::span<const InferOptions> options) {
  check_batch(observations.size(), options, info().limits.batch);
  StageTimes times;
  const ModelShape& shape = implementation_->engine.model().shape();
  const auto values = static_cast<std::size_t>(shape.chunk * shape.action);
  const Inputs inputs = timed(times, "preprocess", [&] {
    Inputs all = implementation_->observations->preprocess(observations, false);
    all.noise = Array(DType::f32, {all.state.shape[0], shape.chunk, shape.action});
    // Each as if it were alone: the first sample of its own seed.
    for (std::size_t b = 0; b < options.size(); ++b)
      fill_normal(options[b].seed, 0, all.noise.data<float>() + b * values, values);
    return all;
  });
  times["total"] = times["preprocess"];
  const Array actions = implementation_->compute(inputs, {.steps = options.front().steps}, times);
  std::vector<ActionChunk> chunks;
  for (std::size_t b = 0; b < options.size(); ++b) {
    Array one(DType::f32, {1, shape.chunk, shape.action});
    std::copy_n(actions.data<float>() + b * values, values, one.data<float>());
    chunks.push_back(implementation_->finish(one, true, times));
  }
  return chunks;
}

Inputs Policy::preprocess(const Observation& observation) const {
  const ObservationInputs& observations = *implementation_->observations;
  Inputs inputs = observations.preprocess({&observation, 1}, false);
  inputs.images = observations.patches_of(inputs);
  return inputs;
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

void Policy::check_device() { implementation_->engine.device().check_health(); }

const PolicyInfo& Policy::info() const { return implementation_->info; }

}  // namespace nervus
