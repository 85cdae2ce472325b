#include "models/lingbot/formats.h"

#include "core/message.h"
#include "models/lingbot/names.h"

namespace nervus::lingbot {
namespace {

using Sites = std::map<std::string, std::string>;

void add_vision(Sites& sites, const VisionConfig& config) {
  for (std::int64_t i = 0; i < config.depth; ++i) {
    const std::string site = concat("vit.block.", i, "."), name = vision_block(i);
    sites[site + "attn.qkv"] = name + "attn.qkv";
    sites[site + "attn.proj"] = name + "attn.proj";
    sites[site + "gate_proj"] = sites[site + "up_proj"] = name + "mlp.gate_proj";
    sites[site + "down_proj"] = name + "mlp.down_proj";
  }
  sites["vit.merger.mlp_0"] = vision_root + "merger.mlp.0";
  sites["vit.merger.mlp_2"] = vision_root + "merger.mlp.2";
}

// A layer of a decoder. Queries, keys and values are one linear, and so are gate and up; of a `last` language layer
// only keys and values are run.
void add_layer(Sites& sites, const std::string& site, const std::string& name, bool last) {
  const std::string attn = name + "self_attn.", mlp = name + "mlp.";
  sites[site + "k_proj"] = sites[site + "v_proj"] = attn + (last ? "k_proj" : "q_proj");
  sites[site + "q_proj"] = last ? "" : attn + "q_proj";
  sites[site + "o_proj"] = last ? "" : attn + "o_proj";
  sites[site + "mlp.gate_proj"] = sites[site + "mlp.up_proj"] = last ? "" : mlp + "gate_proj";
  sites[site + "mlp.down_proj"] = last ? "" : mlp + "down_proj";
}

}  // namespace

std::string recipe(const std::string& name) {
  if (name != "fp8" && name != "fp8-all") return {};
  const auto rule = [](const std::string& linears) {
    return concat(R"({"linears": ")", linears, R"(", "format": "f8_e4m3"})");
  };
  std::string rules = concat(rule(vision_root + "blocks.*"), ", ", rule(vision_root + "merger.mlp.0"), ", ",
                             rule(language_root + "layers.*"));
  if (name == "fp8-all") rules += ", " + rule(expert_root + "layers.*");
  return concat(R"({"version": 1, "rules": [)", rules, "]}");
}

Sites calibration_sites(const Config& config) {
  Sites sites;
  add_vision(sites, config.vision);
  for (std::int64_t i = 0; i < config.language.layers; ++i) {
    add_layer(sites, concat("vlm.layer.", i, "."), language_layer(i), i + 1 == config.language.layers);
  }
  for (std::int64_t i = 0; i < config.expert.layers; ++i) {
    const std::string site = concat("expert.layer.", i, ".");
    add_layer(sites, site, expert_layer(i), false);
    for (const char* norm : {"input_ln.", "post_attn_ln."})
      sites[site + norm + "gamma"] = sites[site + norm + "beta"] = "";
  }
  sites["action.state_proj"] = root + "state_proj";
  sites["action.in_proj"] = root + "action_in_proj";
  sites["action.out_proj"] = root + "action_out_proj";
  for (const char* part : {"in", "out"}) {
    sites[concat("action.time_mlp.", part)] = config.separate_time ? "" : concat(root, "action_time_mlp_", part);
  }
  return sites;
}

}  // namespace nervus::lingbot
