#include "models/lingbot/lingbot.h"

#include <algorithm>

#include "models/lingbot/weights.h"
#include "models/nn/rope_table.h"

namespace nervus::lingbot {
namespace {

std::vector<float> position_angles(std::int64_t positions, std::int64_t head_size) {
  const std::vector<float> frequencies = rope_frequencies(head_size);
  std::vector<float> angles;
  for (std::int64_t p = 0; p < positions; ++p) {
    for (const float f : frequencies) angles.push_back(static_cast<float>(p) * f);
  }
  return angles;
}

}  // namespace

LingBot::LingBot(const Checkpoint& checkpoint, Device& device, const Config& config, const ModelOptions& options)
    : config_(config),
      limits_(options.limits),
      geometry_(view_geometry(config.vision, options.limits.patches)),
      layout_(cache_layout(config, options.limits)),
      shapes_(largest_call(layout_, options.limits), device.row_granularity()) {
  WeightReader reader(checkpoint, device, weight_table(config), options.progress, options.dry);
  load(reader, options);
}

void LingBot::load(WeightReader& reader, const ModelOptions& options) {
  std::vector<Step> all;  // of every schedule, so that the weights are read once
  for (const int steps : options.steps) {
    const std::vector<Step> schedule = make_schedule(steps, options.time_grid);
    all.insert(all.end(), schedule.begin(), schedule.end());
  }
  prefix_ = std::make_unique<Prefix>(reader, config_);
  vision_ = std::make_unique<Vision>(reader, config_.vision, geometry_, shapes_.largest().views);
  load_experts(reader);
  const std::int64_t head_size = config_.language.head_size;
  levels_ = reader.device().constant(3, 256, pixel_levels());
  rope_ = make_rope(reader.device(), position_angles(layout_.stride(), head_size), head_size / 2);
  const std::vector<TimeConstants> constants = read_time_constants(reader, config_, all);
  for (const Expert& expert : experts_) {
    auto& schedules = schedules_.emplace_back();
    auto next = constants.begin();
    for (const int steps : options.steps) {
      auto& schedule = schedules.emplace_back();
      for (auto left = std::ssize(make_schedule(steps, options.time_grid)); left > 0; --left)
        schedule.push_back(expert.fold(reader.device(), *next++));
    }
  }
}

// Where a device has blocks of their own for few rows, calls of a few samples have linears of their own beside those of
// the largest call: otherwise one sample would wait for kernels that are made for many.
void LingBot::load_experts(WeightReader& reader) {
  const std::int64_t rows = limits_.batch * layout_.suffix;
  const std::int64_t few = reader.device().few_rows() / layout_.suffix * layout_.suffix;
  if (few > 0 && few < rows) {
    const BlockPlan plan = plan_blocks(reader.device(), config_, few);
    if (plan.fused) experts_.emplace_back(reader, config_, few, plan);
  }
  experts_.emplace_back(reader, config_, rows, plan_blocks(reader.device(), config_, rows));
}

std::size_t LingBot::chosen_expert() const {
  const std::int64_t rows = buffers_->state.rows * layout_.suffix;
  return rows <= experts_.front().rows() ? 0 : experts_.size() - 1;
}

std::vector<std::string> LingBot::plan() const {
  if (!vision_->rotated()) return {};
  return {"vision's residual stream: rotated when weights are loaded, so that int8 meets no outlier channels"};
}

void LingBot::attach(Ops& ops) {
  ops_ = &ops;
  buffers_ = std::make_unique<Buffers>(ops, config_, limits_, held_for(vision_->reader_of_images(), ops.activation()),
                                       levels_);
}

CallShape LingBot::upload(Device& device, const Presence& presence, const Inputs& inputs, const Array& noise) {
  Plan plan = make_plan(config_, geometry_, layout_, shapes_, presence);
  buffers_->upload_images(device, inputs.images);
  upload_state(device, inputs.state, noise);
  plan_ = std::move(plan);
  lay_out(plan_.shape);
  buffers_->upload(device, plan_);
  return plan_.shape;
}

void LingBot::upload_state(Device& device, const Array& state, const Array& noise) {
  buffers_->upload_state(device, state);
  if (!noise.bytes.empty()) buffers_->upload_noise(device, noise);
}

void LingBot::vision() { vision_->run(*ops_, *buffers_); }

void LingBot::prefix() { prefix_->run(*ops_, *buffers_, rope_); }

void LingBot::denoise(std::size_t schedule) {
  const auto scope = ops_->scope();
  const std::size_t chosen = chosen_expert();
  const Expert& expert = experts_[chosen];
  const Tensor states = expert.states(*ops_, *buffers_);
  ops_->copy_into(buffers_->actions, buffers_->noise);
  for (const TimeConstants& time : schedules_[chosen][schedule]) {
    const auto step_scope = ops_->scope();
    expert.advance(*ops_, *buffers_, rope_, states, buffers_->actions, time);
  }
}

std::map<std::string, Array> LingBot::trace_prefix(Device& device) {
  std::map<std::string, Array> trace;
  const std::int64_t batch = plan_.batch, length = plan_.padded_length;
  Array valid(DType::boolean, {batch, length});
  for (const std::int32_t column : plan_.prefix_columns) valid.data<std::uint8_t>()[column] = 1;
  trace["prefix.valid"] = valid;

  // Puts row `row(r)` of `tensor` where the r-th prefix row stands in the padded [B, L].
  const auto spread = [&](const Tensor& tensor, const auto& row, Shape shape) {
    Array source(tensor.dtype, {tensor.rows, tensor.columns}), target(DType::f32, std::move(shape));
    device.download(source.bytes.data(), tensor);
    const std::vector<float> values = source.to_float();
    for (std::size_t r = 0; r < plan_.prefix_columns.size(); ++r) {
      std::copy_n(values.data() + row(r) * tensor.columns, tensor.columns,
                  target.data<float>() + plan_.prefix_columns[r] * tensor.columns);
    }
    return target;
  };
  const auto scope = ops_->scope();
  const Tensor embeddings = ops_->allocate(DType::f32, plan_.shape.prefix_rows, config_.language.width);
  prefix_->embed(*ops_, *buffers_, embeddings);
  trace["prefix.embeddings"] =
      spread(embeddings, [](std::size_t r) { return r; }, {batch, length, config_.language.width});
  const Shape shape{batch, length, config_.language.kv_heads, config_.language.head_size};
  const auto slot = [&](std::size_t r) { return plan_.prefix.slots[r]; };
  for (std::size_t i = 0; i < buffers_->cache.size(); ++i) {
    const std::string name = "prefix." + std::to_string(i);
    trace[name + ".key"] = spread(buffers_->cache[i].keys, slot, shape);
    trace[name + ".value"] = spread(buffers_->cache[i].values, slot, shape);
  }
  return trace;
}

std::vector<Array> LingBot::trace_velocity(Device& device, const Checkpoint& checkpoint,
                                           const std::vector<float>& times) {
  WeightReader reader(checkpoint, device, weight_table(config_), {}, false);
  std::vector<Step> steps;
  for (const float t : times) steps.push_back({t, 1});
  const Shape shape{plan_.batch, config_.chunk, config_.action};
  Array noise(DType::f32, shape);
  device.download(noise.bytes.data(), buffers_->noise);
  std::vector<Array> velocities;
  const Expert& expert = experts_[chosen_expert()];
  for (const TimeConstants& time : read_time_constants(reader, config_, steps)) {
    const auto scope = ops_->scope();
    const Tensor x = ops_->copy(buffers_->noise);
    expert.advance(*ops_, *buffers_, rope_, expert.states(*ops_, *buffers_), x, expert.fold(device, time));
    Array array(DType::f32, shape);  // what a step of 1 takes away
    device.download(array.bytes.data(), x.slice(0, plan_.batch * config_.chunk));
    for (std::int64_t i = 0; i < array.count(); ++i)
      array.data<float>()[i] = noise.data<float>()[i] - array.data<float>()[i];
    velocities.push_back(std::move(array));
  }
  return velocities;
}

}  // namespace nervus::lingbot
