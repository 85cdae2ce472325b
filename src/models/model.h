// Model: what the assembly line needs of any family. A model knows no device: it reads its weights through
// WeightReader, keeps them as a Device made them, and computes through Ops.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "backends/device.h"
#include "backends/ops.h"
#include "checkpoint/checkpoint.h"
#include "core/patches.h"
#include "models/call_shape.h"
#include "nervus/policy.h"

namespace nervus {

// What a call of this model looks like.
struct ModelShape {
  PatchGeometry patches;        // how images are cut
  std::int64_t image_side = 0;  // pixels that images are resized to (resize_imgs_with_padding)
  std::int64_t vocabulary = 0;
  std::int64_t text_tokens = 0;      // default length of the text (tokenizer_max_length)
  std::int64_t state = 0;            // max_state_dim
  std::int64_t action = 0;           // max_action_dim
  std::int64_t chunk = 0;            // n_action_steps
  int steps = 0;                     // default number of Euler steps (num_steps)
  std::vector<std::string> cameras;  // in order
};

// That any call may have, whatever the model.
inline constexpr Limits largest_limits{.batch = 256, .views = 64, .patches = 16384, .text_tokens = 4096};

struct ModelOptions {
  Limits limits;  // complete: nothing is 0
  std::vector<int> steps;
  TimeGrid time_grid = TimeGrid::exact;
  ProgressFunction progress;
  bool dry = false;  // shapes only: no weight is read
};

// The masks of a call on the host, row-major: which views and which text tokens are there.
struct Presence {
  std::int64_t batch = 0, views = 0, text = 0;
  std::vector<std::uint8_t> image_mask;  // [B, V]
  std::vector<std::uint8_t> token_mask;  // [B, T]
  std::vector<std::int32_t> tokens;      // [B, T]; only those with a mask are read
};

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelShape& shape() const = 0;
  virtual const Limits& limits() const = 0;

  // What formats made of it beyond each linear's, in words; empty where nothing is to be said.
  virtual std::vector<std::string> plan() const { return {}; }

  // The extents that graphs of the stages are captured for.
  virtual const CallShapes& call_shapes() const = 0;

  // Takes the buffers of a call from the workspace of `ops`, and computes with `ops` from now on.
  virtual void attach(Ops& ops) = 0;
  // Has the device make all memory that calls are copied through.
  virtual void reserve_staging(Device& device) = 0;
  // Makes the stages launch work of these extents, as a call of them does.
  virtual void lay_out(const CallShape& shape) = 0;
  // Plans the next call, lays it out and copies its tensors to the device; `noise` [B, n, A], or empty if it follows.
  // Throws Error(input) where a token is not in the vocabulary or a value not finite, and then leaves the call before
  // as it was.
  virtual CallShape upload(Device& device, const Presence& presence, const Inputs& inputs, const Array& noise) = 0;
  // The same for the state and noise alone, of the call uploaded last.
  virtual void upload_state(Device& device, const Array& state, const Array& noise) = 0;
  virtual void upload_noise(Device& device, const Array& noise) = 0;

  // The stages, in this order; each may be run again without those before it.
  virtual void vision() = 0;
  virtual void prefix() = 0;
  // Denoises x_t in place with the schedule of options.steps[schedule].
  virtual void denoise(std::size_t schedule) = 0;
  // f32 [B n, A], and rows behind it where the batch was rounded up
  virtual Tensor actions() const = 0;

  // After prefix(): prefix.embeddings, prefix.valid, prefix.{i}.key, prefix.{i}.value, with padding rows zero.
  virtual std::map<std::string, Array> trace_prefix(Device& device) = 0;
  // Velocities f32 [B, n, A] at the uploaded noise for other times; reads the weights of the time embedding again.
  virtual std::vector<Array> trace_velocity(Device& device, const Checkpoint& checkpoint,
                                            const std::vector<float>& times) = 0;
};

}  // namespace nervus
