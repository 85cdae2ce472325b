// What the rest of the house knows of LingBot-VLA: its row of families.cpp, and how a checkpoint is described.
#include "models/lingbot/lingbot.h"
#include "models/lingbot/weights.h"

namespace nervus::lingbot {
namespace {

std::vector<std::string> variants(const Config& c) {
  std::vector<std::string> names;
  if (c.query_tokens > 0) names.push_back("depth queries (" + std::to_string(c.query_tokens) + " a view)");
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
  return std::to_string(d.layers) + " layers, width " + std::to_string(d.width) + ", " + std::to_string(d.heads) +
         " query and " + std::to_string(d.kv_heads) + " key/value heads of " + std::to_string(d.head_size) +
         ", SwiGLU " + std::to_string(d.mlp);
}

ModelDescription describe(const Fields& fields, const Checkpoint* tensors) {
  const Config c = read_config(fields, tensors);
  const VisionConfig& v = c.vision;
  ModelDescription d;
  d.variants = variants(c);
  d.sizes = {
      {"vision tower", std::to_string(v.depth) + " blocks, width " + std::to_string(v.width) + ", " +
                           std::to_string(v.heads) + " heads of " + std::to_string(v.head_size()) + ", SwiGLU " +
                           std::to_string(v.mlp)},
      {"language model", decoder_size(c.language) + ", vocabulary " + std::to_string(c.vocabulary)},
      {"action expert", decoder_size(c.expert)},
      {"views", "3 of " + std::to_string(c.image_side) + " x " + std::to_string(c.image_side) + " pixels"},
      {"text", "up to " + std::to_string(c.text_tokens) + " tokens"},
      {"state", std::to_string(c.state) + " values"},
      {"actions", std::to_string(c.chunk) + " of " + std::to_string(c.action) + " values, " + std::to_string(c.steps) +
                      " Euler steps"},
  };
  d.tensors = weight_table(c);
  d.unused_prefixes = unused_prefixes();
  return d;
}

ModelShape describe_shape(const Fields& fields, const Checkpoint* tensors) {
  return shape_of(read_config(fields, tensors));
}

std::unique_ptr<Model> load(const Checkpoint& checkpoint, Device& device, const ModelOptions& options) {
  return std::make_unique<LingBot>(checkpoint, device, read_config(checkpoint.config_fields(), &checkpoint), options);
}

}  // namespace

Family family() {
  return {.name = "lingbot-vla",
          .recognises = recognises,
          .describe = describe,
          .shape = describe_shape,
          .load = load,
          .preset = preset_config,
          .presets = {"tiny", "lingbot-vla-4b"}};
}

}  // namespace nervus::lingbot
