#include "models/lingbot/config.h"

namespace nervus::lingbot {
namespace {

// The public LingBot-VLA-4B.
constexpr const char* lingbot_vla_4b = R"({
  "type": "lingbotvla",
  "hidden_size": 2048,
  "intermediate_size": 11008,
  "num_attention_heads": 16,
  "num_key_value_heads": 2,
  "num_hidden_layers": 36,
  "rms_norm_eps": 1e-06,
  "vocab_size": 151936,
  "hidden_act": "silu",
  "vision_config": {
    "depth": 32,
    "hidden_size": 1280,
    "hidden_act": "silu",
    "intermediate_size": 3420,
    "num_heads": 16,
    "in_channels": 3,
    "out_hidden_size": 2048,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "window_size": 112,
    "temporal_patch_size": 2,
    "fullatt_block_indexes": [7, 15, 23, 31]
  },
  "qwen_expert_config": {
    "hidden_size": 768,
    "head_dim": 128,
    "intermediate_size": 2752,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "num_hidden_layers": 36,
    "rms_norm_eps": 1e-06,
    "hidden_act": "silu"
  },
  "max_state_dim": 75,
  "max_action_dim": 75,
  "n_action_steps": 50,
  "num_steps": 10,
  "tokenizer_max_length": 72,
  "resize_imgs_with_padding": [224, 224],
  "vlm_causal": false,
  "adanorm_time": true,
  "old_adanorm": true
}
)";

// The same architecture, small enough for a test on any machine.
constexpr const char* tiny = R"({
  "type": "lingbotvla",
  "hidden_size": 256,
  "intermediate_size": 512,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "num_hidden_layers": 4,
  "rms_norm_eps": 1e-06,
  "vocab_size": 512,
  "hidden_act": "silu",
  "vision_config": {
    "depth": 4,
    "hidden_size": 160,
    "hidden_act": "silu",
    "intermediate_size": 340,
    "num_heads": 4,
    "in_channels": 3,
    "out_hidden_size": 256,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "window_size": 112,
    "temporal_patch_size": 2,
    "fullatt_block_indexes": [1, 3]
  },
  "qwen_expert_config": {
    "hidden_size": 128,
    "head_dim": 64,
    "intermediate_size": 344,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "rms_norm_eps": 1e-06,
    "hidden_act": "silu"
  },
  "max_state_dim": 75,
  "max_action_dim": 75,
  "n_action_steps": 50,
  "num_steps": 10,
  "tokenizer_max_length": 72,
  "resize_imgs_with_padding": [224, 224],
  "vlm_causal": false,
  "adanorm_time": true,
  "old_adanorm": true
}
)";

}  // namespace

std::string preset_config(const std::string& name) {
  if (name == "lingbot-vla-4b") return lingbot_vla_4b;
  if (name == "tiny") return tiny;
  return {};
}

}  // namespace nervus::lingbot
