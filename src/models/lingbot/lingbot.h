// LingBot-VLA: camera patches, text and state in, a chunk of actions out, by flow matching. Read this first.
//
//   vision   patches of the views that are there -> image tokens                     (vision.h)
//   prefix   image tokens, depth queries, text -> keys and values of every layer     (prefix.h)
//   denoise  x <- x - dt v(x, t | prefix), from noise at t = 1 to actions at t = 0   (expert.h)
//
// Which rows a call has and who sees whom is planned on the host (plan.h); sizes and variants are in config.h, tensors
// in weights.h. Public class: LingbotVLAPolicy.
#pragma once

#include <memory>

#include "models/families.h"
#include "models/lingbot/expert.h"
#include "models/lingbot/prefix.h"
#include "models/lingbot/vision.h"

namespace nervus::lingbot {

class LingBot : public Model {
 public:
  LingBot(const Checkpoint& checkpoint, Device& device, const Config& config, const ModelOptions& options);

  const ModelShape& shape() const override { return config_; }
  const Limits& limits() const override { return limits_; }
  std::vector<std::string> plan() const override;
  const CallShapes& call_shapes() const override { return shapes_; }
  void attach(Ops& ops) override;
  void reserve_staging(Device& device) override { buffers_->reserve_staging(device); }
  void lay_out(const CallShape& shape) override { buffers_->lay_out(shape); }
  CallShape upload(Device& device, const Presence& presence, const Inputs& inputs, const Array& noise) override;
  void upload_state(Device& device, const Array& state, const Array& noise) override;
  void upload_noise(Device& device, const Array& noise) override { buffers_->upload_noise(device, noise); }
  void vision() override;
  void prefix() override;
  void denoise(std::size_t schedule) override;
  Tensor actions() const override { return buffers_->actions; }
  std::map<std::string, Array> trace_prefix(Device& device) override;
  std::vector<Array> trace_velocity(Device& device, const Checkpoint& checkpoint,
                                    const std::vector<float>& times) override;

 private:
  void load(WeightReader& reader, const ModelOptions& options);
  void load_experts(WeightReader& reader);
  // Which of the experts computes the call that is laid out.
  std::size_t chosen_expert() const;

  Config config_;
  Limits limits_;
  ViewGeometry geometry_;
  CacheLayout layout_;
  CallShapes shapes_;
  std::unique_ptr<Vision> vision_;
  std::unique_ptr<Prefix> prefix_;
  std::vector<Expert> experts_;                                     // by the rows that a call may have, rising
  Rope rope_;                                                       // plain positions, of prefix and suffix
  Tensor levels_;                                                   // pixel_levels(), f32 [3, 256]
  std::vector<std::vector<std::vector<TimeConstants>>> schedules_;  // of each expert one a step count
  Ops* ops_ = nullptr;
  std::unique_ptr<Buffers> buffers_;
  Plan plan_;
};

// The row of families.cpp.
Family family();

}  // namespace nervus::lingbot
