// What a caller may choose. Every default is written here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "nervus/array.h"

namespace nervus {

// How weights and activations are held. f32 agrees with the reference to float32 rounding; bf16 halves memory and time
// (residual streams, norms, softmax and results stay in float32). f16, fp8 and int8 are bf16 but for the linears that a
// recipe names. In f16 their weights and inputs are rounded eight times finer, at the same cost. In fp8 and int8 they
// have 8 bits: floats (e4m3), whose inputs have the range that a calibration found, or integers, of which every row of
// the inputs has its own. The three differ in the default recipe, and a CPU has none of them.
enum class Precision { f32, bf16, f16, fp8, int8 };

// Whether recipes go with it.
constexpr bool has_recipe(Precision precision) { return precision != Precision::f32 && precision != Precision::bf16; }

// "f32", "bf16", "f16", "fp8" or "int8". Throws Error(usage) naming the known ones.
Precision precision_from(const std::string& name);
const char* name_of(Precision precision) noexcept;

// Which attention kernels a device computes with. A CPU has one, for every shape.
enum class Attention {
  automatic,  // the fast ones where they have the shape, the plain one elsewhere
  fast,       // the fast ones alone: a load that meets a shape which they lack is refused
  plain,      // the plain one alone, of any shape; no block is fused around it
};

// "auto", "fast" or "plain". Throws Error(usage) naming the known ones.
Attention attention_from(const std::string& name);
const char* name_of(Attention attention) noexcept;

// The times of the Euler steps.
enum class TimeGrid {
  exact,             // t = 1 - i / N
  bf16_accumulated,  // the public implementation's on a GPU: t += -1/N in bfloat16, until t < 1 / (2 N)
};

// The largest call that the policy will be given; 0 stands for the checkpoint's own value. Memory is
// sized by them at load; a larger call is refused.
struct Limits {
  std::int64_t batch = 1;
  std::int64_t views = 0;        // default: 3
  std::int64_t patches = 0;      // of a view; default: from resize_imgs_with_padding (224 x 224: 256)
  std::int64_t text_tokens = 0;  // default: tokenizer_max_length
};

// Progress of a long operation: `done` of `total` (bytes), and what is being done.
using ProgressFunction = std::function<void(std::int64_t done, std::int64_t total, const std::string& what)>;

struct LoadOptions {
  std::string device = "cpu";
  Precision precision = Precision::bf16;
  // Of f16, fp8 and int8: "f16", "fp8", "fp8-all", "int8", "int8-all", "mixed" or a .json; empty: as the precision.
  std::string recipe;
  std::filesystem::path calibration;  // of linears in e4m3: the ranges of inputs, as calibrate() writes them
  Attention attention = Attention::automatic;
  // Of a GPU: which kernel computes a product of each shape. What the file has is not measured again, so that all loads
  // by it compute the same bits; what it lacks is measured and written into it, which makes it where there is none. A
  // file of another kind of device or another build is refused. Empty: measured once in a process.
  std::filesystem::path plan;
  int threads = 0;         // CPU threads; 0: all cores this process may use
  std::vector<int> steps;  // every step count that will be asked for, 1 to 1000; empty: the checkpoint's num_steps
  TimeGrid time_grid = TimeGrid::exact;
  Limits limits;
  std::string robot;                 // joint order and units, e.g. "robotwin", "aloha"; empty: the model's own order
  std::filesystem::path norm_stats;  // norm_stats.json; empty: the one beside the checkpoint if a robot is named
  std::string normalization;         // overrides the robot's type, e.g. "bounds_99"; empty: the robot's
  ProgressFunction progress;
};

struct InferOptions {
  int steps = 0;           // one of LoadOptions::steps; 0: the first of them
  std::uint64_t seed = 0;  // of the noise, where neither `noise` nor the inputs carry it
  Array noise = {};        // [B, n_action_steps, max_action_dim] f32, in place of the inputs' own; empty: none
  // Only the state and noise are this call's: images and text are those of this policy's last infer, whose vision and
  // prefix are not computed again. Error(usage) where there was none, Error(input) where its batch was another.
  bool keep_prefix = false;
};

}  // namespace nervus
