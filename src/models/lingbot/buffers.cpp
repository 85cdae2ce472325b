#include "models/lingbot/buffers.h"

namespace nervus::lingbot {
namespace {

constexpr std::int64_t words_per_row = 6;  // position, slot and ranges

// Hands out consecutive pieces of a block of integers.
class Pieces {
 public:
  explicit Pieces(const Tensor& block) : block_(block) {}

  Tensor take(std::int64_t rows, std::int64_t columns) {
    const std::int64_t begin = used_;
    used_ += rows * columns;
    check(used_ <= block_.columns, "the block of plan integers is large enough");
    return {static_cast<std::int32_t*>(block_.data) + begin, DType::i32, rows, columns};
  }
  DeviceRows take(const Rows& rows) {
    const std::int64_t count = rows.count();
    return {take(1, count), take(1, count), take(count, 4)};
  }

 private:
  Tensor block_;
  std::int64_t used_ = 0;
};

std::int64_t columns(const std::vector<std::int32_t>& values) { return static_cast<std::int64_t>(values.size()); }

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
  for (std::int64_t i = 0; i < config.language.layers; ++i) {
    const std::int64_t slots = limits.batch * layout.stride(),
                       width = config.language.kv_heads * config.language.head_size;
    cache.push_back({ops.allocate(ops.activation(), slots, width), ops.allocate(ops.activation(), slots, width)});
  }
}

void Buffers::resize(const Plan& p, std::int64_t views, std::int64_t patches) {
  images = all_images_.slice(0, p.batch * views * patches);
  tokens = all_tokens_.slice(0, columns(p.patches) / config_.vision.unit());
  embeddings = all_embeddings_.slice(0, p.prefix.count());
  state = all_state_.slice(0, p.batch);
  noise = all_noise_.slice(0, p.batch * config_.chunk);
  actions = all_actions_.slice(0, p.batch * config_.chunk);
  Pieces pieces(integers_);
  plan.patches = pieces.take(1, columns(p.patches));
  plan.window = pieces.take(p.window);
  plan.view = pieces.take(p.view);
  plan.image_rows = pieces.take(1, columns(p.image_rows));
  plan.query_rows = pieces.take(1, columns(p.query_rows));
  plan.text_rows = pieces.take(1, columns(p.text_rows));
  plan.prefix = pieces.take(p.prefix);
  plan.suffix = pieces.take(p.suffix);
}

void Buffers::upload(Device& device, const Plan& p) const {
  std::vector<std::int32_t> block;
  const auto append = [&](const std::vector<std::int32_t>& values) {
    block.insert(block.end(), values.begin(), values.end());
  };
  const auto append_rows = [&](const Rows& rows) {
    append(rows.positions);
    append(rows.slots);
    append(rows.ranges);
  };
  append(p.patches);
  append_rows(p.window);
  append_rows(p.view);
  append(p.image_rows);
  append(p.query_rows);
  append(p.text_rows);
  append_rows(p.prefix);
  append_rows(p.suffix);
  device.upload({integers_.data, DType::i32, 1, columns(block)}, block.data());
}

}  // namespace nervus::lingbot
