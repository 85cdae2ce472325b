#include "models/lingbot/buffers.h"

#include <algorithm>
#include <utility>

#include "core/message.h"

namespace nervus::lingbot {
namespace {

constexpr std::int64_t words_per_row = 6;  // position, slot and ranges

// The parts of rows that are copied at a time: a quarter of a view, but all of a sample's noise.
template <typename Work>
void for_parts(const Tensor& rows, const Work& work) {
  constexpr std::int64_t values = 75 << 10;
  const std::int64_t part = std::max<std::int64_t>(1, values / rows.columns);
  for (std::int64_t begin = 0; begin < rows.rows; begin += part) {
    work(rows.slice(begin, std::min(part, rows.rows - begin)), begin);
  }
}

struct Part {
  Tensor rows;
  const std::byte* source;
  void* staged;
  std::int64_t first;     // element of all
  std::int64_t bad = -1;  // element of it that is not finite
};

// Copies values to the first rows of a buffer, in its type; some rows at a time, so that they travel while the next are
// converted, by all of the device's crew.
void upload_finite(Device& device, const Tensor& buffer, const char* name, const Array& values) {
  const auto size = static_cast<std::int64_t>(size_of(values.dtype));
  std::vector<Part> parts;
  for_parts(buffer.slice(0, values.count() / buffer.columns), [&](const Tensor& some, std::int64_t begin) {
    const std::int64_t first = begin * buffer.columns;
    parts.push_back({some, values.bytes.data() + first * size, device.staging(some), first});
  });
  const auto convert = [&](std::int64_t i) {
    Part& part = parts[i];
    part.bad = convert_finite(values.dtype, part.source, part.rows.dtype, part.staged, part.rows.count());
  };
  const auto upload = [&](std::int64_t i) {
    const Part& part = parts[i];
    if (part.bad >= 0) {
      float found = 0;
      convert_to_float(values.dtype, part.source + part.bad * size, &found, 1);
      fail(ErrorKind::input, name, ": expected finite values, found ", found, " at element ", part.first + part.bad);
    }
    device.upload(part.rows, part.staged);
  };
  device.crew().for_each(std::ssize(parts), convert, upload);
}

Tensor first(const Tensor& array, std::int64_t count) {
  check(count <= array.columns, "a call's plan is within the limits");
  return {array.data, array.dtype, 1, count};
}

DeviceRows first(const DeviceRows& rows, std::int64_t count) {
  return {first(rows.positions, count), first(rows.slots, count), rows.ranges.slice(0, count), {}};
}

}  // namespace

Buffers::Buffers(Ops& ops, const Config& config, const Limits& limits, DType image_type)
    : config_(config), patches_(limits.patches) {
  const CacheLayout layout = cache_layout(config, limits);
  const std::int64_t views = limits.batch * limits.views, patches = views * limits.patches;
  const std::int64_t prefix = limits.batch * layout.prefix, suffix = limits.batch * layout.suffix;
  const std::int64_t places = limits.batch * suffix_places(config);
  images = ops.allocate(image_type, patches, config.vision.patch_values());
  all_tokens = ops.allocate(DType::f32, patches / config.vision.unit(), config.language.width);
  all_state_ = ops.allocate(DType::f32, limits.batch, config.state);
  all_noise_ = ops.allocate(DType::f32, limits.batch * config.chunk, config.action);
  all_actions_ = ops.allocate(DType::f32, limits.batch * config.chunk, config.action);
  integers_ = ops.allocate(DType::i32, 1, patches + prefix * (3 + words_per_row) + suffix * words_per_row + places);
  auto* next = static_cast<std::int32_t*>(integers_.data);
  const auto place = [&](std::int64_t count) {
    return Tensor{std::exchange(next, next + count), DType::i32, 1, count};
  };
  all_.prefix.ranges = place(4 * prefix).reshaped(prefix, 4);  // the ranges first: each four are aligned
  all_.suffix.ranges = place(4 * suffix).reshaped(suffix, 4);
  all_.prefix.positions = place(prefix);
  all_.prefix.slots = place(prefix);
  all_.suffix.positions = place(suffix);
  all_.suffix.slots = place(suffix);
  all_.suffix.order = place(places);
  all_.patches = place(patches);
  all_.image_rows = place(prefix);
  all_.query_rows = place(prefix);
  all_.text_rows = place(prefix);
  const std::int64_t width = config.language.kv_heads * config.language.head_size;
  for (std::int64_t i = 0; i < config.language.layers; ++i) {
    cache.push_back(
        {ops.allocate(ops.activation(), layout.slots(), width), ops.allocate(ops.activation(), layout.slots(), width)});
  }
}

void Buffers::lay_out(const CallShape& shape) {
  tokens = all_tokens.slice(0, shape.views * patches_ / config_.vision.unit());
  state = all_state_.slice(0, shape.batch);
  noise = all_noise_.slice(0, shape.batch * config_.chunk);
  actions = all_actions_.slice(0, shape.batch * config_.chunk);
  plan.patches = first(all_.patches, shape.views * patches_);
  plan.image_rows = first(all_.image_rows, shape.prefix_rows);
  plan.query_rows = first(all_.query_rows, shape.prefix_rows);
  plan.text_rows = first(all_.text_rows, shape.prefix_rows);
  plan.prefix = first(all_.prefix, shape.prefix_rows);
  plan.suffix = first(all_.suffix, shape.batch * (1 + config_.chunk));
  if (shape.batch > 1) plan.suffix.order = first(all_.suffix.order, shape.batch * suffix_places(config_));
}

void Buffers::reserve_staging(Device& device) const {
  for (const Tensor& buffer : {images, all_state_, all_noise_}) {
    for_parts(buffer, [&](const Tensor& some, std::int64_t) { device.staging(some); });
  }
  device.staging(integers_);
}

void Buffers::upload_images(Device& device, const Array& values) const {
  upload_finite(device, images, "images", values);
}

void Buffers::upload_state(Device& device, const Array& values) const {
  upload_finite(device, all_state_, "state", values);
}

void Buffers::upload_noise(Device& device, const Array& values) const {
  upload_finite(device, all_noise_, "noise", values);
}

void Buffers::upload(Device& device, const Plan& p) const {
  auto* block = static_cast<std::int32_t*>(device.staging(integers_));
  const auto put = [&](const Tensor& array, const std::vector<std::int32_t>& values) {
    check(array.count() == std::ssize(values), "the plan is of the call laid out");
    std::copy(values.begin(), values.end(), block + (array.as<std::int32_t>() - integers_.as<std::int32_t>()));
  };
  const auto put_rows = [&](const DeviceRows& array, const Rows& rows) {
    put(array.positions, rows.positions);
    put(array.slots, rows.slots);
    put(array.ranges, rows.ranges);
    if (array.order) put(array.order, rows.order);
  };
  put(plan.patches, p.patches);
  put(plan.image_rows, p.image_rows);
  put(plan.query_rows, p.query_rows);
  put(plan.text_rows, p.text_rows);
  put_rows(plan.prefix, p.prefix);
  put_rows(plan.suffix, p.suffix);
  device.upload(integers_, block);
}

}  // namespace nervus::lingbot
