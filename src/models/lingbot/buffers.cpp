#include "models/lingbot/buffers.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/message.h"

namespace nervus::lingbot {
namespace {

constexpr std::int64_t words_per_row = 6;  // position, slot and ranges

// What one thread converts at a time, a quarter of a view's patches, and what travels at a time: to begin a copy costs
// as much as to convert some 50,000 values.
constexpr std::int64_t part_values = 75 << 10, copied_values = 512 << 10;
// Below this a thread has done it before others have woken.
constexpr std::size_t worth_sharing = 1 << 20;  // bytes

// Copies values to the first rows of a buffer, in its type, and bytes as they are; converted in parts by all of the
// device's crew, of which some travel while the next are converted.
void upload_finite(Device& device, const Tensor& buffer, const char* name, const Array& values) {
  const auto size = static_cast<std::int64_t>(size_of(values.dtype));
  const Tensor all = buffer.slice(0, values.count() / buffer.columns);
  const std::int64_t part = std::max<std::int64_t>(1, part_values / all.columns);  // in rows
  const std::int64_t together = std::max<std::int64_t>(1, copied_values / (part * all.columns));
  std::vector<std::int64_t> bad((all.rows + part - 1) / part, -1);  // of each part the element that is not finite
  const auto count = std::ssize(bad);
  Tensor staged = all;
  staged.data = device.staging(all);
  const auto rows = [&](const Tensor& x, std::int64_t begin, std::int64_t end) {
    return x.slice(begin * part, std::min(end * part, x.rows) - begin * part);
  };
  const auto convert = [&](std::int64_t i) {
    const Tensor target = rows(staged, i, i + 1);
    const std::byte* source = values.bytes.data() + i * part * all.columns * size;
    if (values.dtype != DType::u8)
      bad[i] = convert_finite(values.dtype, source, target.dtype, target.data, target.count());
    else std::memcpy(target.data, source, static_cast<std::size_t>(target.bytes()));
  };
  const auto upload = [&](std::int64_t i) {
    if (bad[i] >= 0) {
      const std::int64_t element = i * part * all.columns + bad[i];
      float found = 0;
      convert_to_float(values.dtype, values.bytes.data() + element * size, &found, 1);
      fail(ErrorKind::input, name, ": expected finite values, found ", found, " at element ", element);
    }
    if ((i + 1) % together != 0 && i + 1 != count) return;
    const std::int64_t begin = i / together * together;
    device.upload(rows(all, begin, i + 1), rows(staged, begin, i + 1).data);
  };
  Crew alone;
  (values.bytes.size() < worth_sharing ? alone : device.crew()).for_each(count, convert, upload);
}

Tensor first(const Tensor& array, std::int64_t count) {
  check(count <= array.columns, "a call's plan is within the limits");
  return {array.data, array.dtype, 1, count};
}

DeviceRows first(const DeviceRows& rows, std::int64_t count) {
  return {first(rows.positions, count), first(rows.slots, count), rows.ranges.slice(0, count), {}};
}

}  // namespace

Buffers::Buffers(Ops& ops, const Config& config, const Limits& limits, DType image_type, const Tensor& levels)
    : ops_(ops), config_(config), patches_(limits.patches), levels_(levels) {
  const CacheLayout layout = cache_layout(config, limits);
  const std::int64_t views = limits.batch * limits.views, patches = views * limits.patches;
  const std::int64_t prefix = limits.batch * layout.prefix, suffix = limits.batch * layout.suffix;
  const std::int64_t places = limits.batch * suffix_places(config);
  images = ops.allocate(image_type, patches, config.patches.values());
  pixels_ = ops.allocate(DType::u8, views, 3 * patches_ * config.patches.area());
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
  for (const Tensor& buffer : {images, pixels_, all_state_, all_noise_, integers_}) device.staging(buffer);
}

void Buffers::upload_images(Device& device, const Array& values) const {
  if (values.dtype != DType::u8) return upload_finite(device, images, "images", values);
  upload_finite(device, pixels_, "images", values);
  const Tensor pixels = pixels_.slice(0, values.count() / pixels_.columns);
  ops_.cut_patches_into(images.slice(0, pixels.rows * patches_), pixels, levels_, config_.patches);
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
