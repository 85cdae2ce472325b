// What the rest of the house knows of LingBot-VLA: its row of families.cpp, and how a checkpoint is described.
#include "core/message.h"
#include "models/lingbot/formats.h"
#include "models/lingbot/lingbot.h"
#include "models/lingbot/weights.h"

namespace nervus::lingbot {
namespace {

std::vector<std::string> variants(const Config& c) {
  std::vector<std::string> names;
  if (c.query_tokens > 0) names.push_back(concat("depth queries (", c.query_tokens, " a view)"));
  if (c.causal) names.push_back("causal prefix");
  if (c.ada_norm.gate == AdaNormConfig::Gate::separate) names.push_back("gated AdaRMS (separate)");
  if (c.ada_norm.gate == AdaNormConfig::Gate::joint) names.push_back("gated AdaRMS (joint)");
  if (!c.ada_norm.weight) names.push_back("AdaRMS without weight");
  if (c.final_ada_norm) names.push_back("AdaRMS final norm");
  if (c.separate_time) names.push_back("separate time projection");
  if (names.empty()) names.push_back("plain");
  return names;
}

std::string decoder_size(const DecoderConfig& d) {
  return concat(d.layers, " layers, width ", d.width, ", ", d.heads, " query and ", d.kv_heads, " key/value heads of ",
                d.head_size, ", SwiGLU ", d.mlp);
}

ModelDescription describe(const Fields& fields, const Checkpoint* tensors) {
  const Config c = read_config(fields, tensors);
  const VisionConfig& v = c.vision;
  ModelDescription d;
  d.shape = c;
  d.variants = variants(c);
  d.sizes = {
      {"vision tower",
       concat(v.depth, " blocks, width ", v.width, ", ", v.heads, " heads of ", v.head_size(), ", SwiGLU ", v.mlp)},
      {"language model", concat(decoder_size(c.language), ", vocabulary ", c.vocabulary)},
      {"action expert", decoder_size(c.expert)},
      {"views", concat("3 of ", c.image_side, " x ", c.image_side, " pixels")},
      {"text", concat("up to ", c.text_tokens, " tokens")},
      {"state", concat(c.state, " values")},
      {"actions", concat(c.chunk, " of ", c.action, " values, ", c.steps, " Euler steps")},
  };
  d.tensors = weight_table(c);
  d.unused_prefixes = unused_prefixes();
  d.sites = calibration_sites(c);
  return d;
}

std::unique_ptr<Model> load(const Checkpoint& checkpoint, Device& device, const ModelOptions& options) {
  return std::make_unique<LingBot>(checkpoint, device, read_config(checkpoint.config_fields(), &checkpoint), options);
}

}  // namespace

Family family() {
  return {.name = "lingbot-vla",
          .recognises = recognises,
          .describe = describe,
          .load = load,
          .preset = preset_config,
          .presets = {"tiny", "lingbot-vla-4b"},
          .recipe = recipe,
          .recipes = recipe_names()};
}

}  // namespace nervus::lingbot
