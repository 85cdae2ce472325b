// The prefix: image tokens, depth queries and text through the language model, of which only keys and values are kept
// (public class: QwenvlWithExpertModel, the first branch).
#pragma once

#include <vector>

#include "models/lingbot/buffers.h"
#include "models/nn/weight_reader.h"

namespace nervus::lingbot {

class Prefix {
 public:
  Prefix(WeightReader& reader, const Config& config);

  // The rows as they enter the language model: y f32 [L, D] from the vision tower's output and the plan.
  void embed(Ops& ops, const Buffers& buffers, const Tensor& y) const;
  // The same rows -> buffers.cache. `rope` holds plain positions.
  void run(Ops& ops, const Buffers& buffers, const Rope& rope) const;

 private:
  struct Layer {
    Norm attn_norm;
    Linear qkv;  // of the last layer: keys and values only
    Linear out;  // the rest is empty in the last layer
    Norm mlp_norm;
    Linear gate_up;
    Linear down;
  };

  DecoderConfig config_;
  Tensor token_table_;  // [vocabulary, D]
  Tensor query_table_;  // f32 [query tokens, D], or empty
  std::vector<Layer> layers_;
};

}  // namespace nervus::lingbot
