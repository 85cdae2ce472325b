// The buffers of a call, taken from the workspace once and sliced for each call.
#pragma once

#include <vector>

#include "backends/ops.h"
#include "models/lingbot/plan.h"

namespace nervus::lingbot {

// The rows of a stage on the device.
struct DeviceRows {
  Tensor positions;  // i32 [1, T]
  Tensor slots;      // i32 [1, T]
  Tensor ranges;     // i32 [T, 4]
};

// The plan of a call on the device, in one block of integers.
struct DevicePlan {
  Tensor patches;  // i32 [1, views P]
  DeviceRows window;
  DeviceRows view;
  Tensor image_rows;  // i32 [1, image tokens]
  Tensor query_rows;
  Tensor text_rows;
  DeviceRows prefix;
  DeviceRows suffix;
};

// Keys and values of every language layer; the expert's own are written behind a sample's prefix.
using PrefixCache = std::vector<KeyValues>;

class Buffers {
 public:
  Buffers(Ops& ops, const Config& config, const Limits& limits);

  // Lays out the next call.
  void resize(const Plan& plan, std::int64_t views, std::int64_t patches);
  void upload(Device& device) const;

  Tensor images;      // f32 [B V P, 1176]
  Tensor tokens;      // f32 [views that are there x tokens, D]: the vision tower's output, in window order
  Tensor embeddings;  // f32 [prefix rows, D]: kept as they entered the language model
  Tensor state;       // f32 [B, max_state]
  Tensor noise;       // f32 [B chunk, max_action]
  Tensor actions;     // f32 [B chunk, max_action]
  DevicePlan plan;
  PrefixCache cache;

 private:
  // Appends to the block of integers; returns where on the device upload() puts them.
  Tensor place(const std::vector<std::int32_t>& values);
  DeviceRows place(const Rows& rows);

  const Config& config_;
  Tensor all_images_, all_tokens_, all_embeddings_, all_state_, all_noise_, all_actions_, integers_;
  std::vector<std::int32_t> block_;  // the plan of the next call, as integers_ will hold it
};

}  // namespace nervus::lingbot
