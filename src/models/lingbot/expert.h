// The action expert: a decoder over [state, noisy actions] that also attends to the prefix, conditioned on time by its
// norms (public class: QwenvlWithExpertModel, the second branch; embed_suffix of LingbotVLAPolicy).
#pragma once

#include <vector>

#include "models/lingbot/buffers.h"
#include "models/lingbot/schedule.h"
#include "models/nn/weight_reader.h"

namespace nervus::lingbot {

// A norm and the gate of the residual that it starts, at one time. The gate is empty where there is none.
struct Style {
  Norm norm;
  Tensor gate;
};

// What depends on the time alone: constants of the checkpoint.
struct TimeConstants {
  float dt = 0;
  std::vector<float> action_time_bias;  // of action_time_in, the time's half; empty with a separate time MLP
  std::vector<Style> attn_style;        // one a layer
  std::vector<Style> mlp_style;
  Norm final_norm;
  Linear action_time_in;  // an expert's own, see Expert::fold
};

// The constants of each step. Reads the weights that depend on the time, which are not kept.
std::vector<TimeConstants> read_time_constants(WeightReader& reader, const Config& config,
                                               const std::vector<Step>& steps);

// How the device makes the expert's blocks for calls of up to `rows` rows.
BlockPlan plan_blocks(Device& device, const Config& config, std::int64_t rows);

class Expert {
 public:
  // `rows`: most rows of a call, of all samples, as those of plan_blocks().
  Expert(WeightReader& reader, const Config& config, std::int64_t rows, const BlockPlan& plan);

  std::int64_t rows() const { return rows_; }
  // The constants as the linears of this expert read them.
  TimeConstants fold(Device& device, TimeConstants time) const;

  // The states as the first rows of the stream, f32 [B, E], in the caller's scope: the same at any time.
  Tensor states(Ops& ops, const Buffers& buffers) const;
  // x_t -= dt v(x_t, t | prefix), f32 [B n, A]: one pass over [states, actions].
  void advance(Ops& ops, const Buffers& buffers, const Rope& rope, const Tensor& states, const Tensor& x_t,
               const TimeConstants& time) const;

 private:
  struct Layer {
    Linear qkv;
    Linear out;
    Linear gate_up;
    Linear down;
  };

  void compose_action_in(WeightReader& reader, const BlockPlan& plan);
  Residual embed_suffix(Ops& ops, const Tensor& states, const Tensor& x_t, const TimeConstants& time) const;

  const Config& config_;
  std::int64_t rows_;
  Linear state_proj_;
  Linear action_in_;
  // The actions' half of it, or where it is fused of it and action_in_; empty with a separate time MLP.
  Linear action_time_in_;
  std::vector<float> composed_bias_;  // where fused: what action_in_'s bias adds to that of action_time_in_
  Linear action_time_out_;
  std::vector<Layer> layers_;
  Linear action_out_;
};

}  // namespace nervus::lingbot
