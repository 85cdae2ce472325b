// Where the parts of the model stand in the checkpoint.
#pragma once

#include <string>

namespace nervus::lingbot {

inline const std::string root = "model.";
inline const std::string vision_root = root + "qwenvl_with_expert.qwenvl.visual.";
inline const std::string language_root = root + "qwenvl_with_expert.qwenvl.model.";
inline const std::string expert_root = root + "qwenvl_with_expert.qwen_expert.model.";

inline std::string vision_block(std::int64_t i) { return vision_root + "blocks." + std::to_string(i) + "."; }
inline std::string language_layer(std::int64_t i) { return language_root + "layers." + std::to_string(i) + "."; }
inline std::string expert_layer(std::int64_t i) { return expert_root + "layers." + std::to_string(i) + "."; }

}  // namespace nervus::lingbot
