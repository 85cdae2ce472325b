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

struct Rule {
  std::string linears;
  DType format;
};

std::vector<Rule> one_after_other(const std::vector<std::vector<Rule>>& parts) {
  std::vector<Rule> rules;
  for (const std::vector<Rule>& part : parts) rules.insert(rules.end(), part.begin(), part.end());
  return rules;
}

// Name and rules of each. What the narrow ones leave in 16 bits costs more accuracy in 8 than it saves time
// (docs/performance.md).
std::vector<std::pair<std::string, std::vector<Rule>>> recipes() {
  const std::string vision = vision_root + "blocks.*", language = language_root + "layers.*";
  const std::string expert = expert_root + "layers.*", merger = vision_root + "merger.mlp.0";
  const std::vector<Rule> halves = {{vision_root + "*", DType::f16}, {language, DType::f16}};
  const std::vector<Rule> language_mlps = {{language + ".mlp.*", DType::e4m3}};
  const std::vector<Rule> expert_layers = {{expert, DType::e4m3}};
  const std::vector<Rule> normed = {{vision + ".attn.qkv", DType::i8},
                                    {vision + ".mlp.gate_proj", DType::i8},
                                    {language + ".q_proj", DType::i8},
                                    {language + ".mlp.gate_proj", DType::i8}};
  const auto language_down = [&](DType format) { return std::vector<Rule>{{language + ".mlp.down_proj", format}}; };
  const auto all = [&](DType format) {
    return std::vector<Rule>{{vision, format}, {merger, format}, {language, format}, {expert, format}};
  };
  return {
      {"f16", halves},
      {"fp8", one_after_other({halves, language_mlps, expert_layers})},
      {"fp8-all", all(DType::e4m3)},
      {"int8", one_after_other({halves, normed, language_down(DType::i8)})},
      {"int8-all", all(DType::i8)},
      {"mixed", one_after_other({halves, normed, language_down(DType::e4m3), expert_layers})},
  };
}

}  // namespace

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const auto& [name, rules] : recipes()) names.push_back(name);
  return names;
}

std::string recipe(const std::string& name) {
  for (const auto& [known, rules] : recipes()) {
    if (known != name) continue;
    std::vector<std::string> texts;
    for (const auto& [linears, format] : rules) {
      texts.push_back(concat(R"({"linears": ")", linears, R"(", "format": ")", name_of(format), R"("})"));
    }
    return concat(R"({"version": 1, "rules": [)", joined(texts), "]}");
  }
  return {};
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
