#include "models/lingbot/weights.h"

#include "models/lingbot/names.h"

namespace nervus::lingbot {
namespace {

using Use = TensorSpec::Use;

class Table {
 public:
  void part(std::string name) { part_ = std::move(name); }
  void use(Use use) { use_ = use; }
  void add(const std::string& name, Shape shape) { specs_.push_back({name, std::move(shape), part_, use_}); }
  // name.weight [outputs, inputs] and, with a bias, name.bias [outputs]
  void linear(const std::string& name, std::int64_t outputs, std::int64_t inputs, bool bias) {
    add(name + ".weight", {outputs, inputs});
    if (bias) add(name + ".bias", {outputs});
  }
  std::vector<TensorSpec> take() { return std::move(specs_); }

 private:
  std::vector<TensorSpec> specs_;
  std::string part_;
  Use use_ = Use::required;
};

void mlp(Table& t, const std::string& layer, std::int64_t inner, std::int64_t width, bool bias) {
  t.linear(layer + "mlp.gate_proj", inner, width, bias);
  t.linear(layer + "mlp.up_proj", inner, width, bias);
  t.linear(layer + "mlp.down_proj", width, inner, bias);
}

void vision(Table& t, const Config& c) {
  const VisionConfig& v = c.vision;
  t.part("vision");
  t.add(vision_root + "patch_embed.proj.weight", {v.width, v.channels, v.temporal, v.patch, v.patch});
  for (std::int64_t i = 0; i < v.depth; ++i) {
    const std::string b = vision_block(i);
    t.add(b + "norm1.weight", {v.width});
    t.add(b + "norm2.weight", {v.width});
    t.linear(b + "attn.qkv", 3 * v.width, v.width, true);
    t.linear(b + "attn.proj", v.width, v.width, true);
    mlp(t, b, v.mlp, v.width, true);
  }
  const std::int64_t merged = v.width * v.unit();
  t.add(vision_root + "merger.ln_q.weight", {v.width});
  t.linear(vision_root + "merger.mlp.0", merged, merged, true);
  t.linear(vision_root + "merger.mlp.2", c.language.width, merged, true);
}

void language(Table& t, const Config& c) {
  const DecoderConfig& d = c.language;
  t.part("embedding");
  t.add(language_root + "embed_tokens.weight", {c.vocabulary, d.width});
  t.part("language");
  for (std::int64_t i = 0; i < d.layers; ++i) {
    const std::string n = language_layer(i);
    // Of the last layer only keys and values are ever read: the expert attends to them.
    const Use rest = i + 1 < d.layers ? Use::required : Use::unused;
    t.add(n + "input_layernorm.weight", {d.width});
    t.linear(n + "self_attn.k_proj", d.kv_heads * d.head_size, d.width, true);
    t.linear(n + "self_attn.v_proj", d.kv_heads * d.head_size, d.width, true);
    t.use(rest);
    t.linear(n + "self_attn.q_proj", d.heads * d.head_size, d.width, true);
    t.linear(n + "self_attn.o_proj", d.width, d.heads * d.head_size, false);
    t.add(n + "post_attention_layernorm.weight", {d.width});
    mlp(t, n, d.mlp, d.width, false);
    t.use(Use::required);
  }
  t.use(Use::unused);
  t.add(language_root + "norm.weight", {d.width});
  t.use(Use::required);
}

// weight [D], then gamma and beta (and gate) of the time embedding [D, D], or all three in one linear [3 D, D].
void ada_norm(Table& t, const std::string& name, std::int64_t width, bool weight, AdaNormConfig::Gate gate) {
  if (weight) t.add(name + "weight", {width});
  if (gate == AdaNormConfig::Gate::joint) return t.linear(name + "gamma_beta_gate", 3 * width, width, true);
  t.linear(name + "gamma", width, width, true);
  t.linear(name + "beta", width, width, true);
  if (gate == AdaNormConfig::Gate::separate) t.linear(name + "gate", width, width, true);
}

void expert(Table& t, const Config& c) {
  const DecoderConfig& d = c.expert;
  t.part("expert");
  for (std::int64_t i = 0; i < d.layers; ++i) {
    const std::string n = expert_layer(i);
    ada_norm(t, n + "input_layernorm.", d.width, c.ada_norm.weight, c.ada_norm.gate);
    t.linear(n + "self_attn.q_proj", d.heads * d.head_size, d.width, true);
    t.linear(n + "self_attn.k_proj", d.kv_heads * d.head_size, d.width, true);
    t.linear(n + "self_attn.v_proj", d.kv_heads * d.head_size, d.width, true);
    t.linear(n + "self_attn.o_proj", d.width, d.heads * d.head_size, false);
    ada_norm(t, n + "post_attention_layernorm.", d.width, c.ada_norm.weight, c.ada_norm.gate);
    mlp(t, n, d.mlp, d.width, false);
  }
  if (c.final_ada_norm) {
    auto gate = c.ada_norm.gate;
    if (gate == AdaNormConfig::Gate::separate && !c.final_gate) gate = AdaNormConfig::Gate::none;
    ada_norm(t, expert_root + "norm.", d.width, c.final_weight, gate);
  } else {
    t.add(expert_root + "norm.weight", {d.width});
  }
  t.linear(root + "state_proj", d.width, c.state, true);
  t.linear(root + "action_in_proj", d.width, c.action, true);
  t.linear(root + "action_out_proj", c.action, d.width, true);
  const std::string time = c.separate_time ? "time_mlp_" : "action_time_mlp_";
  t.linear(root + time + "in", d.width, c.separate_time ? d.width : 2 * d.width, true);
  t.linear(root + time + "out", d.width, d.width, true);
}

}  // namespace

std::vector<TensorSpec> weight_table(const Config& config) {
  Table table;
  vision(table, config);
  language(table, config);
  expert(table, config);
  if (config.query_tokens > 0) table.add(root + "depth_align_embs", {config.query_rows, config.language.width});
  return table.take();
}

std::vector<std::string> unused_prefixes() {
  return {root + "depth_align_head.", root + "qwenvl_with_expert.qwenvl.lm_head.",
          root + "qwenvl_with_expert.qwen_expert.lm_head.", expert_root + "embed_tokens."};
}

}  // namespace nervus::lingbot
