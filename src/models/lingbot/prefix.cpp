#include "models/lingbot/prefix.h"

#include "models/lingbot/names.h"

namespace nervus::lingbot {
namespace {

// The depth queries: each is the mean of its share of the learned rows.
std::vector<float> query_embeddings(WeightReader& reader, const Config& config) {
  const std::vector<float> rows = reader.values(root + "depth_align_embs");
  const std::int64_t share = config.query_rows / config.query_tokens, width = config.language.width;
  std::vector<float> queries(config.query_tokens * width);
  for (std::int64_t q = 0; q < config.query_tokens; ++q) {
    for (std::int64_t c = 0; c < width; ++c) {
      float sum = 0;
      for (std::int64_t r = 0; r < share; ++r) sum += rows[(q * share + r) * width + c];
      queries[q * width + c] = sum / static_cast<float>(share);
    }
  }
  return queries;
}

}  // namespace

Prefix::Prefix(WeightReader& reader, const Config& config) : config_(config.language) {
  if (config.query_tokens > 0) {
    query_table_ = reader.device().constant(config.query_tokens, config_.width, query_embeddings(reader, config));
  }
  for (std::int64_t i = 0; i < config_.layers; ++i) {
    const std::string n = language_layer(i), a = n + "self_attn.";
    const Norm attn_norm{reader.vector(n + "input_layernorm.weight"), {}};
    if (i + 1 == config_.layers) {
      layers_.push_back(
          {.attn_norm = attn_norm,
           .qkv = reader.linear({a + "k_proj", a + "v_proj"}, {.heads = {0, config_.kv_heads, config_.head_size}})});
      break;
    }
    layers_.push_back({
        .attn_norm = attn_norm,
        .qkv = reader.linear({a + "q_proj", a + "k_proj", a + "v_proj"},
                             {.heads = {config_.heads, config_.kv_heads, config_.head_size}}),
        .out = reader.linear({a + "o_proj"}, {.full_output = true}),
        .mlp_norm = {reader.vector(n + "post_attention_layernorm.weight"), {}},
        .gate_up = reader.linear({n + "mlp.gate_proj", n + "mlp.up_proj"}, {.gate_up = true}),
        .down = reader.linear({n + "mlp.down_proj"}, {.full_output = true}),
    });
  }
  token_table_ =
      reader.table(language_root + "embed_tokens.weight", held_for(layers_[0].qkv, reader.device().activation()));
}

// Rows [images][queries][text] of all samples.
void Prefix::embed(Ops& ops, const Buffers& buffers, const Tensor& y) const {
  ops.gather_rows_into(y, buffers.all_tokens, buffers.plan.image_rows);
  if (query_table_) ops.gather_rows_into(y, query_table_, buffers.plan.query_rows);
  ops.gather_rows_into(y, token_table_, buffers.plan.text_rows);
}

void Prefix::run(Ops& ops, const Buffers& buffers, const Rope& table) const {
  const auto stage = ops.scope();
  const DeviceRows& rows = buffers.plan.prefix;
  const Rope rope{table.cosine, table.sine, rows.positions};
  const Residual h = ops.residual(rows.slots.columns, layers_[0].qkv);  // [L, D]
  embed(ops, buffers, h.h);
  ops.start_residual(h, layers_[0].attn_norm);
  for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
    const auto scope = ops.scope();
    const Layer& w = layers_[i];
    const Tensor q = ops.qkv(h, w.attn_norm, w.qkv, rope, buffers.cache[i], rows.slots);
    Tensor x = ops.attention(q, buffers.cache[i], rows.ranges, w.qkv.heads, w.out.input);  // [L, H d]
    ops.linear_add(h, x, w.out, {}, w.mlp_norm);                                           // h += x W^T

    x = ops.gate_up(h, w.mlp_norm, w.gate_up, w.down.input);  // [L, F]
    ops.linear_add(h, x, w.down, {}, layers_[i + 1].attn_norm);
  }
  const Layer& last = layers_.back();  // nothing reads what comes after its keys and values
  ops.qkv(h, last.attn_norm, last.qkv, rope, buffers.cache.back(), rows.slots);
}

}  // namespace nervus::lingbot
