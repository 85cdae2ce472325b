// The vision tower (public class: Qwen2_5_VisionTransformerPretrainedModel).
#pragma once

#include <vector>

#include "models/lingbot/buffers.h"
#include "models/nn/weight_reader.h"

namespace nervus::lingbot {

class Vision {
 public:
  // `views`: most of a call.
  Vision(WeightReader& reader, const VisionConfig& config, const ViewGeometry& geometry, std::int64_t views);

  const Linear& reader_of_images() const { return patch_embed_; }
  // Whether its residual stream is held rotated (nn/rotation.h), as it is where int8 reads it.
  bool rotated() const { return rotated_; }
  // Patches of the views that are there -> buffers.tokens, in window order.
  void run(Ops& ops, const Buffers& buffers) const;

 private:
  struct Block {
    Norm attn_norm;
    Linear qkv;
    Linear proj;
    Norm mlp_norm;
    Linear gate_up;
    Linear down;
    bool full = false;  // sees the whole view, not its window
  };

  VisionConfig config_;
  Rope rope_;  // of every row, as the slots and ranges: constants, whichever views are there
  Tensor slots_;
  Tensor view_ranges_, window_ranges_;
  Linear patch_embed_;
  bool rotated_ = false;
  std::vector<Block> blocks_;
  Norm merger_norm_;
  Linear merger_in_;
  Linear merger_out_;
};

}  // namespace nervus::lingbot
