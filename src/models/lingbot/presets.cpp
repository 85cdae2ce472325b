#include "models/lingbot/config.h"

namespace nervus::lingbot {

std::string preset_config(const std::string& name) {
  // The public LingBot-VLA-4B.
  if (name == "lingbot-vla-4b") {
    return R"({
  "type": "lingbotvla", "vocab_size": 151936,
  "num_hidden_layers": 36, "hidden_size": 2048, "intermediate_size": 11008,
  "num_attention_heads": 16, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "hidden_act": "silu",
  "vision_config": {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048,
    "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "in_channels": 3, "hidden_act": "silu",
    "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]
  },
  "qwen_expert_config": {
    "num_hidden_layers": 36, "hidden_size": 768, "intermediate_size": 2752,
    "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 128, "rms_norm_eps": 1e-06, "hidden_act": "silu"
  },
  "max_state_dim": 75, "max_action_dim": 75, "n_action_steps": 50, "num_steps": 10,
  "tokenizer_max_length": 72, "resize_imgs_with_padding": [224, 224],
  "vlm_causal": false, "adanorm_time": true, "old_adanorm": true
}
)";
  }
  // The same architecture, small enough for a test on any machine.
  if (name == "tiny") {
    return R"({
  "type": "lingbotvla", "vocab_size": 512,
  "num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 512,
  "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "hidden_act": "silu",
  "vision_config": {
    "depth": 4, "hidden_size": 160, "intermediate_size": 340, "num_heads": 4, "out_hidden_size": 256,
    "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "in_channels": 3, "hidden_act": "silu",
    "window_size": 112, "fullatt_block_indexes": [1, 3]
  },
  "qwen_expert_config": {
    "num_hidden_layers": 4, "hidden_size": 128, "intermediate_size": 344,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "rms_norm_eps": 1e-06, "hidden_act": "silu"
  },
  "max_state_dim": 75, "max_action_dim": 75, "n_action_steps": 50, "num_steps": 10,
  "tokenizer_max_length": 72, "resize_imgs_with_padding": [224, 224],
  "vlm_causal": false, "adanorm_time": true, "old_adanorm": true
}
)";
  }
  return {};
}

}  // namespace nervus::lingbot
