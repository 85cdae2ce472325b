#include "models/lingbot/buffers.h"

namespace nervus::lingbot {
namespace {

constexpr std::int64_t words_per_row = 6;  // position, slot and ranges

}  // namespace

Buffers::Buffers(Ops& ops, const Config& config, const Limits& limits) : config_(config) {
  const CacheLayout layout = cache_layout(config, limits);
  const std::int64_t views = limits.batch * limits.views, patches = views * limits.patches;
  const std::int64_t prefix = limits.batch * layout.prefix, suffix = limits.batch * layout.suffix;
  all_images_ = ops.allocate(DType::f32, patches, config.vision.patch_values());
  all_tokens_ = ops.allocate(DType::f32, patches / config.vision.unit(), config.language.width);
  all_embeddings_ = ops.allocate(DType::f32, prefix, config.language.width);
  all_state_ = ops.allocate(DType::f32, limits.batch, config.state);
  all_noise_ = ops.allocate(DType::f32, limits.batch * config.chunk, config.action);
  all_actions_ = ops.allocate(DType::f32, limits.batch * config.chunk, config.action);
  integers_ = ops.allocate(DType::i32, 1,
                           patches * (1 + 2 * words_per_row) + prefix * (1 + words_per_row) + suffix * words_per_row);
  const std::int64_t slots = limits.batch * layout.stride();
  const std::int64_t width = config.language.kv_heads * config.language.head_size;
  for (std::int64_t i = 0; i < config.language.layers; ++i) {
    cache.push_back({ops.allocate(ops.activation(), slots, width), ops.allocate(ops.activation(), slots, width)});
  }
}

void Buffers::resize(const Plan& p, std::int64_t views, std::int64_t patches) {
  images = all_images_.slice(0, p.batch * views * patches);
  tokens = all_tokens_.slice(0, std::ssize(p.patches) / config_.vision.unit());
  embeddings = all_embeddings_.slice(0, p.prefix.count());
  state = all_state_.slice(0, p.batch);
  noise = all_noise_.slice(0, p.batch * config_.chunk);
  actions = all_actions_.slice(0, p.batch * config_.chunk);
  block_.clear();
  plan.patches = place(p.patches);
  plan.window = place(p.window);
  plan.view = place(p.view);
  plan.image_rows = place(p.image_rows);
  plan.query_rows = place(p.query_rows);
  plan.text_rows = place(p.text_rows);
  plan.prefix = place(p.prefix);
  plan.suffix = place(p.suffix);
}

Tensor Buffers::place(const std::vector<std::int32_t>& values) {
  auto* data = static_cast<std::int32_t*>(integers_.data) + block_.size();
  block_.insert(block_.end(), values.begin(), values.end());
  check(std::ssize(block_) <= integers_.columns, "the block of plan integers is large enough");
  return {data, DType::i32, 1, std::ssize(values)};
}

DeviceRows Buffers::place(const Rows& rows) {
  return {place(rows.positions), place(rows.slots), place(rows.ranges).reshaped(rows.count(), 4)};
}

void Buffers::upload(Device& device) const {
  device.upload({integers_.data, DType::i32, 1, std::ssize(block_)}, block_.data());
}

}  // namespace nervus::lingbot
