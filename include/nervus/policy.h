// Policy: a loaded checkpoint that turns observations into chunks of actions.
//
//   nervus::Policy policy = nervus::Policy::load("lingbot-vla-4b", {.robot = "robotwin"});
//   nervus::ActionChunk chunk = policy.infer(observation);
//
// A policy is used by one thread at a time; several policies may run side by side. Everything that can
// fail at load fails there; `infer` throws Error(input) for what is wrong with an observation and
// Error(numeric) rather than return a value that is not finite.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nervus/array.h"
#include "nervus/error.h"
#include "nervus/observation.h"
#include "nervus/options.h"

namespace nervus {

// The tensors of a call. B batch, V views, P patches of a view, S pixels of its side, T text tokens.
struct Inputs {
  // [B, V, P, 1176] f32, f16 or bf16: patches in merge-block order (PolicyInfo::patch_values). Or [B, V, S, S, 3] u8:
  // RGB pixels, which the device makes those patches of (PolicyInfo::image_side); the same actions, sooner.
  Array images;
  Array image_mask;  // [B, V] bool: which views are there
  Array tokens;      // [B, T] i64 or i32
  Array token_mask;  // [B, T] bool
  Array state;       // [B, max_state_dim] f32, normalised and zero-padded
  Array noise;       // [B, n_action_steps, max_action_dim] f32; empty: drawn from the seed

  // From arrays named images, img_masks, lang_tokens, lang_masks, state and (optional) noise. A missing
  // batch axis is added. Throws Error(input) naming what is missing or has another shape or type.
  static Inputs from(std::map<std::string, Array> arrays);
  // From a file or directory of such arrays (array_file.h).
  static Inputs load(const std::filesystem::path& path);

  // The extents of this call, for LoadOptions::limits, of pixels with the checkpoint's own number of patches (0).
  // Throws Error(input) where images or tokens have other axes.
  Limits limits() const;
};

// What a loaded policy is.
struct PolicyInfo {
  std::string family;  // "lingbot-vla"
  std::string device;  // "cpu (2 threads, avx512_bf16)"
  Precision precision = Precision::bf16;
  std::vector<int> steps;             // step counts that infer accepts
  std::int64_t chunk_steps = 0;       // actions in a chunk
  std::int64_t state_dimensions = 0;  // of an Observation's state
  std::int64_t action_dimensions = 0;
  std::vector<std::string> joints;   // of a state and an action, in the robot's order; empty without a robot
  std::vector<std::string> cameras;  // names that an Observation may carry, in the model's order
  std::int64_t image_side = 0;       // pixels that the model sees of each, in both directions
  std::int64_t patch_values = 0;     // of a patch in Inputs::images
  std::int64_t vocabulary = 0;       // Inputs::tokens are below it
  Limits limits;
  std::int64_t weight_bytes = 0;     // on the device
  std::int64_t workspace_bytes = 0;  // arena of activations and caches
  std::int64_t device_bytes = 0;     // all that it holds on the device: weights, workspace, what kernels need beside
  std::int64_t graphs = 0;           // stages recorded at load: one for each extent and step count that a call can have
  double load_seconds = 0;
  std::vector<std::string> linear_plan;     // what formats made of the model, and what the device chose for linears
  std::vector<std::string> attention_plan;  // which attention kernels are active, and why
};

// One op of one call, as measured.
struct OpRecord {
  std::string stage;  // "vision", "prefix", "denoise"
  std::string op;     // "linear", "attention", ...
  std::string name;   // of a linear: its tensor; otherwise empty
  std::int64_t rows = 0, inputs = 0, outputs = 0;
  std::int64_t calls = 0;
  double milliseconds = 0;  // of all calls
  double flops = 0;         // of all calls
  double bytes = 0;         // of weights and activations, all calls
  double weight_bytes = 0;  // of them, those of weights
};

class Policy {
 public:
  // Loads a checkpoint directory. Throws Error(checkpoint | unsupported | io | usage).
  static Policy load(const std::filesystem::path& directory, const LoadOptions& options = {});

  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;
  ~Policy();

  // decode -> preprocess -> vision -> prefix -> denoise -> postprocess; actions in the robot's units.
  ActionChunk infer(const Observation& observation, const InferOptions& options = {});
  // The same from tensors; actions in the model's units, all max_action_dim dimensions, for every batch row.
  ActionChunk infer(const Inputs& inputs, const InferOptions& options = {});

  // Several observations in one call, at most LoadOptions::limits.batch: to each the bytes that infer would return for
  // it alone (on a GPU but for last bits), with the call's timing. Each has its options, of which `steps` is the same
  // and `noise` and `keep_prefix` are not for batches.
  std::vector<ActionChunk> infer_batch(std::span<const Observation> observations,
                                       std::span<const InferOptions> options);

  // The tensors that infer(observation) feeds the model, with patches in place of pixels.
  Inputs preprocess(const Observation& observation) const;

  // Stage tensors of one call, for comparisons: prefix.embeddings [B, L, D], prefix.valid [B, L],
  // prefix.{i}.key and .value [B, L, G, d], velocity.t{t} [B, n, A] at the noise for each time asked for,
  // actions.{N} for each step count loaded. Rows of padding are zero.
  std::map<std::string, Array> trace(const Inputs& inputs, const std::vector<float>& times);

  // Runs infer once with every op timed by the device; slower than infer. On a GPU an op's time is that of a launch of
  // its own: the call's graphs overlap launches.
  std::vector<OpRecord> profile(const Inputs& inputs, const InferOptions& options = {});

  // Whether its device is still there, in microseconds: a device can fail while nothing runs. Throws Error(device).
  void check_device();

  const PolicyInfo& info() const;

 private:
  struct Implementation;
  explicit Policy(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

// The library's version, "0.1.0".
const char* version() noexcept;

}  // namespace nervus
