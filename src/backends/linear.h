// Linear: a weight matrix as the backend wants it, and the formats around it. Precision is data: the
// op that produces a linear's input asks `input` which format to write.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace nervus {

// How the rows entering a linear are written: x is stored as x / scale, rounded to nearest even; e4m3 saturates. In i8
// each row has a scale of its own instead (core/int8.h).
struct Encoding {
  DType dtype = DType::f32;
  float scale = 1;
  bool tiled = false;  // see Tensor

  bool by_row() const { return dtype == DType::i8; }  // whether rows have scales of their own
  bool operator==(const Encoding&) const = default;
};

inline Encoding encoding_of(const Tensor& x) { return {x.dtype, x.scale, x.tiled}; }

// How a linear is held. Of one in f16 or e4m3 the input has the scale given here. In f16 the weight is stored times
// that; in e4m3 over a scale of each output: its row's largest |w| / 448. Of one in i8 every row of the input, and
// every output's of the weight, has its own: its largest |x| / 127.
struct Format {
  DType dtype = DType::f32;
  float scale = 1;
  float stream = 0;  // of e4m3: the scale of h * scale before the norm that it reads (Residual); 0: not known

  bool operator==(const Format&) const = default;
};

// Linears, by name, that are held in another format than the activation type.
using Formats = std::map<std::string, Format>;

struct Heads {
  std::int64_t query = 0;      // H; 0 where only keys and values are wanted
  std::int64_t key_value = 0;  // G
  std::int64_t size = 0;       // d
};

// A block of a transformer as fused kernels see it (Device::plan_blocks).
struct BlockShape {
  std::string_view names;                                        // the beginning of its linears' names
  std::string_view qkv = {}, out = {}, gate_up = {}, down = {};  // their ends
  std::int64_t width = 0;                                        // of the residual stream
  std::int64_t inner = 0;                                        // of the MLP
  std::int64_t rows = 0;                                         // most rows of a call
  Heads heads;
};

// How a device makes the linears of such blocks.
struct BlockPlan {
  bool fused = false;                      // norms are part of the linears around them (Residual)
  bool wide = false;                       // for many rows: what is beside the blocks is not fused but for silu
  std::map<std::string, Encoding> inputs;  // where fused, of the linears that were given a format: what they read
};

// y = x W^T + b. Copies share the weight.
struct Linear {
  std::string name;           // of its (first) tensor in the checkpoint, for reports
  std::int64_t inputs = 0;    // K
  std::int64_t outputs = 0;   // N
  Encoding input;             // what x must be
  DType output = DType::f32;  // what y is
  Tensor bias;                // f32 [1, N] on the device, or empty
  // Laid out for the larger kernels (kernels.h), which are then the only ones it has. `fused`: of a block whose norms
  // are no kernels of their own; `wide`: by tiles for many rows, that take rows as they come. One that is wide alone
  // reads a norm.
  bool fused = false;
  bool wide = false;
  Heads heads;                         // of a qkv
  std::shared_ptr<const void> weight;  // [N, K], packed by the backend that made it
};

// How what leads to a linear is held: as the linear reads it where that takes as much memory as activations.
inline DType held_for(const Linear& reader, DType activation) {
  return size_of(reader.input.dtype) == size_of(activation) ? reader.input.dtype : activation;
}

// Where a linear's numbers come from. Read once, by Device::make_linear.
struct LinearSource {
  std::string name;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  std::function<void(DType to, void* target)> read_weight = nullptr;  // fills [outputs, inputs] row-major as `to`
  std::function<void(float* target)> read_bias = nullptr;             // fills [outputs]; null without bias
  bool full_output = false;  // y is f32 whatever the precision: it starts a residual stream or is a result
  float largest_input = 0;   // |x| stays within it, whatever range e4m3 was given; 0: unknown
  // What a backend may choose a layout by. `block`: it is one of the four of a block that the device plans so, or of
  // those before and behind the blocks (where that is wide the one with `silu` alone); `heads`: its outputs are
  // queries, keys and values; `gate_up`: they are gate and up, side by side.
  const BlockPlan* block = nullptr;
  Heads heads = {};
  bool gate_up = false;
  bool silu = false;  // its outputs go through silu, its inputs are few and f32
};

}  // namespace nervus
