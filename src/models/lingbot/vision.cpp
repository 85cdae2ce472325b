#include "models/lingbot/vision.h"

#include <algorithm>

#include "models/lingbot/names.h"
#include "models/nn/rope_table.h"
#include "models/nn/rotating_reader.h"

namespace nervus::lingbot {
namespace {

constexpr std::int64_t mlp_padding = 16;  // 3420 is no multiple of what matrix units load

// Angles [P, d / 2] over (row, column), for the patches in window order.
std::vector<float> rope_angles(const VisionConfig& config, const ViewGeometry& geometry) {
  const std::vector<float> frequencies = rope_frequencies(config.head_size() / 2);
  const std::int64_t cells = geometry.grid / config.merge;
  std::vector<float> angles;
  for (const std::int32_t token : geometry.token_order) {
    for (std::int64_t k = 0; k < config.unit(); ++k) {
      const auto row = static_cast<float>(token / cells * config.merge + k / config.merge);
      const auto column = static_cast<float>(token % cells * config.merge + k % config.merge);
      for (const float f : frequencies) angles.push_back(row * f);
      for (const float f : frequencies) angles.push_back(column * f);
    }
  }
  return angles;
}

// Those of the tower's linears that read its stream and are most of its work.
std::vector<std::string> stream_readers(const VisionConfig& config) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < config.depth; ++i) {
    for (const char* linear : {"attn.qkv", "mlp.gate_proj"}) names.push_back(vision_block(i) + linear);
  }
  return names;
}

}  // namespace

Vision::Vision(WeightReader& reader, const VisionConfig& config, const ViewGeometry& geometry, std::int64_t views)
    : config_(config), rope_(make_rope(reader.device(), rope_angles(config, geometry), config.head_size() / 2)) {
  const VisionRows rows = vision_rows(geometry, views);
  const std::int64_t count = rows.view.count();
  rope_.positions = reader.device().constant(1, count, rows.view.positions);
  slots_ = reader.device().constant(1, count, rows.view.slots);
  view_ranges_ = reader.device().constant(count, 4, rows.view.ranges);
  window_ranges_ = reader.device().constant(count, 4, rows.window.ranges);
  RotatingReader stream(reader, config.width, stream_readers(config));
  rotated_ = stream.rotates();
  patch_embed_ = stream.writer(vision_root + "patch_embed.proj");
  const auto& full = config.full_blocks;
  for (std::int64_t i = 0; i < config.depth; ++i) {
    const std::string b = vision_block(i);
    const Heads heads{config.heads, config.heads, config.head_size()};
    Block block;
    block.qkv = stream.reader(block.attn_norm, b + "norm1.weight", {b + "attn.qkv"}, {.heads = heads});
    block.proj = stream.writer(b + "attn.proj");
    block.gate_up = stream.reader(block.mlp_norm, b + "norm2.weight", {b + "mlp.gate_proj", b + "mlp.up_proj"},
                                  {.pad_outputs = mlp_padding, .gate_up = true});
    block.down = stream.writer(b + "mlp.down_proj", {.pad_inputs = mlp_padding});
    block.full = std::find(full.begin(), full.end(), i) != full.end();
    blocks_.push_back(std::move(block));
  }
  const std::string merger = vision_root + "merger.";
  merger_in_ = stream.reader(merger_norm_, merger + "ln_q.weight", {merger + "mlp.0"}, {.full_output = true});
  merger_out_ = reader.linear({merger + "mlp.2"}, {.full_output = true});
}

void Vision::run(Ops& ops, const Buffers& buffers) const {
  const auto stage = ops.scope();
  const DevicePlan& plan = buffers.plan;
  const std::int64_t rows = plan.patches.columns;
  const KeyValues cache{ops.allocate(ops.activation(), rows, config_.width),
                        ops.allocate(ops.activation(), rows, config_.width)};
  Rope rope = rope_;
  rope.positions.columns = rows;
  Tensor slots = slots_;
  slots.columns = rows;
  const Residual h = ops.residual(rows, blocks_[0].qkv);  // [N, D]
  {
    const auto scope = ops.scope();
    ops.linear_into(h.h, ops.gather_rows(buffers.images, plan.patches, patch_embed_.input), patch_embed_);
  }
  ops.start_residual(h, blocks_[0].attn_norm);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto scope = ops.scope();
    const Block& w = blocks_[i];
    const Norm& next = i + 1 < blocks_.size() ? blocks_[i + 1].attn_norm : merger_norm_;
    const Tensor q = ops.qkv(h, w.attn_norm, w.qkv, rope, cache, slots);
    Tensor x =
        ops.attention(q, cache, (w.full ? view_ranges_ : window_ranges_).slice(0, rows), w.qkv.heads, w.proj.input);
    ops.linear_add(h, x, w.proj, {}, w.mlp_norm);  // h += x W^T + b

    x = ops.gate_up(h, w.mlp_norm, w.gate_up, w.down.input);  // [N, F]
    ops.linear_add(h, x, w.down, {}, next);
  }
  const bool as_read = !merger_in_.input.by_row();  // otherwise the rows that it reads have to be put together first
  Tensor x = ops.rms_norm(h.h, merger_norm_, as_read ? merger_in_.input : Encoding{ops.activation()});
  x = ops.encode(x.reshaped(rows / config_.unit(), config_.width * config_.unit()), merger_in_.input);  // [N / 4, 4 D]
  x = ops.gelu(ops.linear(x, merger_in_), merger_out_.input);
  ops.linear_into(buffers.tokens, x, merger_out_);  // [N / 4, L]
}

}  // namespace nervus::lingbot
