// Observations to a model's inputs, and its actions back to a robot.
#pragma once

#include <optional>
#include <span>

#include "core/parallel.h"
#include "models/model.h"
#include "preprocess/image.h"
#include "preprocess/robots/robot.h"
#include "preprocess/tokenizer.h"

namespace nervus {

class ObservationInputs {
 public:
  // Reads the tokenizer and the statistics that belong to a checkpoint; images are resized by `crew`, which outlives
  // it. Throws Error(checkpoint | usage | io).
  ObservationInputs(const Checkpoint& checkpoint, const ModelShape& shape, const Limits& limits,
                    const LoadOptions& options, Crew& crew);

  // One batch, its images as pixels. Throws Error(input) for what is wrong with an observation. `state_only`: without
  // images and text.
  Inputs preprocess(std::span<const Observation> observations, bool state_only) const;
  // The patches f32 [B, V, P, 1176] of such images, zeros of views that are not there.
  Array patches_of(const Inputs& inputs) const;
  // Fills an action chunk from [batch, n, A] of the model; `robot_units` cuts and un-normalises to the robot's joints,
  // for a batch of one.
  ActionChunk postprocess(const Array& actions, bool robot_units) const;

  std::int64_t state_dimensions() const;
  std::int64_t action_dimensions() const;
  std::vector<std::string> joints() const;

 private:
  struct View {
    const Image* image;
    std::uint8_t* pixels;
  };
  // Of sample b; its images are checked and become views, which are resized when all are known.
  void add_images(const Observation& observation, std::int64_t b, Inputs& inputs, std::vector<View>& views) const;
  void add_state(const Observation& observation, std::int64_t b, Inputs& inputs) const;
  void add_prompt(const Observation& observation, std::int64_t b, Inputs& inputs) const;

  ModelShape shape_;
  Crew& crew_;
  std::int64_t text_tokens_;
  std::string directory_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<JointTransform> joints_;
};

}  // namespace nervus
