// The buffers of a call, taken from the workspace once and sliced for each call: what begins where never changes, so
// that captured graphs stay true.
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
  Tensor order;      // i32 [1, places], or empty: see Visible
};

// The plan of a call on the device, in one block of integers.
struct DevicePlan {
  Tensor patches;     // i32 [1, views P]
  Tensor image_rows;  // i32 [1, prefix rows], see Plan
  Tensor query_rows;
  Tensor text_rows;
  DeviceRows prefix;
  DeviceRows suffix;
};

// Keys and values of every language layer; the expert's own are written behind a sample's prefix.
using PrefixCache = std::vector<KeyValues>;

class Buffers {
 public:
  // `levels` as pixel_levels(), on the device.
  Buffers(Ops& ops, const Config& config, const Limits& limits, DType image_type, const Tensor& levels);

  void lay_out(const CallShape& shape);
  // Asks the device for all memory that the uploads below go through.
  void reserve_staging(Device& device) const;
  // Copy a call's tensors to the first rows of their buffers. Throw Error(input) where a value is not finite. Of images
  // that are pixels the device makes patches.
  void upload_images(Device& device, const Array& values) const;
  void upload_state(Device& device, const Array& values) const;
  void upload_noise(Device& device, const Array& values) const;
  // Copies the plan of the call laid out.
  void upload(Device& device, const Plan& plan) const;

  Tensor images;      // [B V P, 1176] at the limits
  Tensor all_tokens;  // f32 [B V tokens, D] at the limits: the vision tower's output, in window order
  Tensor tokens;      // of the views that are there
  Tensor state;       // f32 [B, max_state]
  Tensor noise;       // f32 [B chunk, max_action]
  Tensor actions;     // f32 [B chunk, max_action]
  DevicePlan plan;
  PrefixCache cache;

 private:
  Ops& ops_;
  const Config& config_;
  std::int64_t patches_;  // of a view
  Tensor levels_;         // f32 [3, 256]
  Tensor pixels_;         // u8 [B V, 3 S S] at the limits
  Tensor all_state_, all_noise_, all_actions_;
  Tensor integers_;  // i32 [1, n]: every array of the plan, at the limits
  DevicePlan all_;   // the arrays in it
};

}  // namespace nervus::lingbot
