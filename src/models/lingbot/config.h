// Sizes and variants of a LingBot-VLA checkpoint (public class: LingbotVlaConfig). Defaults are those of
// LingBot-VLA-4B.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model.h"

namespace nervus::lingbot {

// Qwen2.5-VL's vision tower.
struct VisionConfig {
  std::int64_t depth = 32;  // blocks
  std::int64_t width = 1280;
  std::int64_t heads = 16;
  std::int64_t mlp = 3420;  // inner width of the SwiGLU
  std::int64_t channels = 3;
  std::int64_t patch = 14;                                  // pixels a side
  std::int64_t temporal = 2;                                // frames a patch
  std::int64_t merge = 2;                                   // patches a side that become one token
  std::int64_t window = 112;                                // pixels a side of an attention window
  std::vector<std::int64_t> full_blocks = {7, 15, 23, 31};  // blocks that see the whole view

  std::int64_t head_size() const { return width / heads; }
  std::int64_t unit() const { return merge * merge; }  // patches of a token
};

// A decoder stack: the language model, or the action expert.
struct DecoderConfig {
  std::int64_t layers = 36;
  std::int64_t width = 2048;
  std::int64_t heads = 16;
  std::int64_t kv_heads = 2;
  std::int64_t head_size = 128;
  std::int64_t mlp = 11008;
};

// What the AdaRMS norms of the expert are made of.
struct AdaNormConfig {
  enum class Gate { none, separate, joint };
  bool weight = true;      // a weight before scale and shift ("old_adanorm")
  Gate gate = Gate::none;  // gate.* ("split_gate_liner") or gamma_beta_gate.* ("nosplit_gate_liner")
};

// The shape of its calls, and what the model is made of.
struct Config : ModelShape {
  Config();

  VisionConfig vision;
  DecoderConfig language;
  DecoderConfig expert{.width = 768, .mlp = 2752};
  AdaNormConfig ada_norm;
  bool final_ada_norm = false;    // the expert's last norm is AdaRMS too
  bool final_gate = false;        // ... and carries a gate, which nothing uses
  bool final_weight = true;       // ... and has a weight before scale and shift
  bool separate_time = false;     // time conditions the norms through its own MLP, not the actions
  bool causal = false;            // the prefix sees only what comes before
  std::int64_t query_tokens = 0;  // depth queries a view; 0: none
  std::int64_t query_rows = 0;    // rows of depth_align_embs; query_rows / query_tokens are averaged for each
};

// From config.json, completed from the shapes of the tensors where they are given: a public config often has only
// the policy's keys. Throws Error(checkpoint) naming the field or tensor that contradicts another.
Config read_config(const Fields& fields, const Checkpoint* tensors);

// Whether config.json or the tensors' names are LingBot-VLA's.
bool recognises(const Fields& fields, const Checkpoint* tensors);

// config.json of a preset ("lingbot-vla-4b", "tiny"), or empty.
std::string preset_config(const std::string& name);

}  // namespace nervus::lingbot
