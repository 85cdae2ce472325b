#include "runtime/observation_inputs.h"

#include <algorithm>
#include <cmath>

#include "checkpoint/file.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr int bands = 4;

std::optional<JointTransform> joint_transform(const Checkpoint& checkpoint, const LoadOptions& options) {
  if (options.robot.empty()) {
    if (!options.norm_stats.empty()) {
      fail(ErrorKind::usage,
           "norm_stats: expected a robot to go with it, found none: name the robot whose joints the "
           "statistics describe (",
           joined(robot_names()), ")");
    }
    return std::nullopt;
  }
  const Robot& robot = find_robot(options.robot);
  std::optional<Normalization> type;
  if (!options.normalization.empty()) type = normalization_from_name(options.normalization);
  if (type == Normalization::identity) return JointTransform(robot);
  const std::filesystem::path beside = checkpoint.directory() / "norm_stats.json";
  if (options.norm_stats.empty() && !is_there(beside)) {
    fail(ErrorKind::usage, "robot '", options.robot, "': expected normalisation statistics, found no ", beside.string(),
         ": name the file, or choose the normalisation 'identity'");
  }
  return JointTransform(robot, read_norm_stats(Fields::read(options.norm_stats.empty() ? beside : options.norm_stats)),
                        type);
}

std::optional<Tokenizer> find_tokenizer(const std::filesystem::path& directory, std::int64_t vocabulary) {
  if (!is_there(directory / "tokenizer.json") && !is_there(directory / "vocab.json")) {
    return std::nullopt;
  }
  Tokenizer tokenizer = Tokenizer::load(directory);
  if (static_cast<std::int64_t>(tokenizer.vocabulary_size()) > vocabulary) {
    fail(ErrorKind::checkpoint, directory.string(), ": expected a tokenizer of at most ", vocabulary,
         " tokens (vocab_size), found ", tokenizer.vocabulary_size(), ": it belongs to another checkpoint");
  }
  return tokenizer;
}

}  // namespace

ObservationInputs::ObservationInputs(const Checkpoint& checkpoint, const ModelShape& shape, const Limits& limits,
                                     const LoadOptions& options, Crew& crew)
    : shape_(shape),
      crew_(crew),
      text_tokens_(std::min(shape.text_tokens, limits.text_tokens)),
      directory_(checkpoint.directory().string()),
      tokenizer_(find_tokenizer(checkpoint.directory(), shape.vocabulary)),
      joints_(joint_transform(checkpoint, options)) {
  if (!joints_) return;
  joints_->require_room("max_state_dim", shape.state);
  joints_->require_room("max_action_dim", shape.action);
}

std::int64_t ObservationInputs::state_dimensions() const {
  return joints_ ? static_cast<std::int64_t>(joints_->dimensions()) : shape_.state;
}

std::int64_t ObservationInputs::action_dimensions() const {
  return joints_ ? static_cast<std::int64_t>(joints_->dimensions()) : shape_.action;
}

std::vector<std::string> ObservationInputs::joints() const {
  return joints_ ? joints_->robot().joints : std::vector<std::string>{};
}

Inputs ObservationInputs::preprocess(std::span<const Observation> observations, bool state_only) const {
  const auto batch = static_cast<std::int64_t>(observations.size());
  Inputs inputs;
  inputs.state = Array(DType::f32, {batch, shape_.state});
  if (!state_only) {
    const auto views = static_cast<std::int64_t>(shape_.cameras.size());
    inputs.images = Array(DType::u8, {batch, views, shape_.image_side, shape_.image_side, 3});
    inputs.image_mask = Array(DType::boolean, {batch, views});
    inputs.tokens = Array(DType::i32, {batch, text_tokens_});
    inputs.token_mask = Array(DType::boolean, {batch, text_tokens_});
  }
  std::vector<View> views;
  for (std::int64_t b = 0; b < batch; ++b) {
    try {
      if (!state_only) add_images(observations[b], b, inputs, views);
      add_state(observations[b], b, inputs);
      if (!state_only) add_prompt(observations[b], b, inputs);
    } catch (const Error& error) {
      if (batch == 1) throw;
      fail(error.kind(), "observations[", b, "]: ", error.what());
    }
  }
  // Of each view `bands` parts, so that there is work for more threads than views.
  const int side = static_cast<int>(shape_.image_side);
  crew_.for_each(std::ssize(views) * bands, [&](std::int64_t i) {
    const View& view = views[i / bands];
    const int band = static_cast<int>(i % bands), begin = side * band / bands, end = side * (band + 1) / bands;
    resize_rows(*view.image, side, side, begin, end, view.pixels + 3 * side * begin);
  });
  return inputs;
}

Array ObservationInputs::patches_of(const Inputs& inputs) const {
  const int side = static_cast<int>(shape_.image_side), bytes = 3 * side * side;
  const std::int64_t count = patch_count(side, side, shape_.patches), values = shape_.patches.values();
  Array patches(DType::f32, {inputs.images.shape[0], inputs.images.shape[1], count, values});
  for (std::int64_t v = 0; v < inputs.image_mask.count(); ++v) {
    if (inputs.image_mask.data<std::uint8_t>()[v] == 0) continue;
    const std::uint8_t* pixels = inputs.images.data<std::uint8_t>() + v * bytes;
    extract_patches({side, side, {pixels, pixels + bytes}}, shape_.patches, patches.data<float>() + v * count * values);
  }
  return patches;
}

void ObservationInputs::add_images(const Observation& observation, std::int64_t b, Inputs& inputs,
                                   std::vector<View>& views) const {
  for (const auto& [name, image] : observation.images) {
    if (std::find(shape_.cameras.begin(), shape_.cameras.end(), name) == shape_.cameras.end()) {
      fail(ErrorKind::input, "camera '", name, "': expected one of ", joined(shape_.cameras));
    }
  }
  if (observation.images.empty()) {
    fail(ErrorKind::input, "images: expected at least one of ", joined(shape_.cameras), ", found none");
  }
  const std::int64_t cameras = inputs.images.shape[1], bytes = 3 * shape_.image_side * shape_.image_side;
  for (std::int64_t v = 0; v < cameras; ++v) {
    const auto found = observation.images.find(shape_.cameras[v]);
    if (found == observation.images.end()) continue;
    require_pixels(found->second, concat("camera '", found->first, "'"));
    views.push_back({&found->second, inputs.images.data<std::uint8_t>() + (b * cameras + v) * bytes});
    inputs.image_mask.data<std::uint8_t>()[b * cameras + v] = 1;
  }
}

void ObservationInputs::add_state(const Observation& observation, std::int64_t b, Inputs& inputs) const {
  std::vector<float> state(observation.state);
  if (joints_) {
    state = joints_->state_to_model(observation.state, shape_.state);
  } else if (state.empty() || static_cast<std::int64_t>(state.size()) > shape_.state) {
    fail(ErrorKind::input, "state: expected 1 to ", shape_.state, " values, found ", state.size());
  }
  for (std::size_t i = 0; i < state.size(); ++i) {
    if (std::isfinite(state[i])) continue;
    fail(ErrorKind::input, "state[", i, "]: expected a finite value, found ", state[i]);
  }
  std::copy(state.begin(), state.end(), inputs.state.data<float>() + b * shape_.state);
}

void ObservationInputs::add_prompt(const Observation& observation, std::int64_t b, Inputs& inputs) const {
  if (!tokenizer_) {
    fail(ErrorKind::checkpoint, directory_,
         ": expected tokenizer.json, or vocab.json and merges.txt, found neither: "
         "copy Qwen2.5's into the checkpoint's directory to use instructions");
  }
  const Prompt prompt = encode_prompt(*tokenizer_, observation.prompt, text_tokens_);
  std::copy(prompt.tokens.begin(), prompt.tokens.end(), inputs.tokens.data<std::int32_t>() + b * text_tokens_);
  std::copy(prompt.valid.begin(), prompt.valid.end(), inputs.token_mask.data<std::uint8_t>() + b * text_tokens_);
}

ActionChunk ObservationInputs::postprocess(const Array& actions, bool robot_units) const {
  ActionChunk chunk{.batch = actions.shape[0], .steps = actions.shape[1], .dimensions = actions.shape[2]};
  if (robot_units && joints_) {
    chunk.dimensions = action_dimensions();
    chunk.values = joints_->actions_to_robot(actions.data<float>(), chunk.steps, actions.shape[2]);
    chunk.names = joints_->robot().joints;
    chunk.units = joints_->robot().units;
  } else {
    chunk.values = actions.to_float();
    for (std::int64_t i = 0; i < chunk.dimensions; ++i) chunk.names.push_back("action_" + std::to_string(i));
    chunk.units.assign(chunk.dimensions, "");
  }
  for (std::size_t i = 0; i < chunk.values.size(); ++i) {
    if (std::isfinite(chunk.values[i])) continue;
    fail(ErrorKind::numeric, "action '", chunk.names[i % chunk.dimensions], "': expected a finite value, found ",
         chunk.values[i], ": check the normalisation statistics");
  }
  return chunk;
}

}  // namespace nervus
