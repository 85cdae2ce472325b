// Engine: a model on a device with its working memory, loaded and ready; the part of a policy that computes.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "backends/observed_kernels.h"
#include "models/families.h"
#include "runtime/graphs.h"
#include "runtime/stage.h"

namespace nervus {

// The device of LoadOptions; without `fuse` one whose every norm and linear can be observed. Throws Error(usage) for a
// name that is none, Error(unsupported) for one that is not here.
std::unique_ptr<Device> open_device(const LoadOptions& options, bool fuse = true);

// N of "cuda:N", 0 of "cuda", none of "cpu". Throws Error(usage) for another name.
std::optional<int> cuda_ordinal(const std::string& device);

// The limits with the checkpoint's values where they are 0. Throws Error(usage) out of range.
Limits complete_limits(const Limits& limits, const ModelShape& shape);

// Throws Error(checkpoint) with the first faults where the tensors are not those of the weight table.
void check_tensors(const Checkpoint& checkpoint, const ModelDescription& description);

// vision -> prefix -> denoise: calls around(name, stage) for each, which runs stage().
template <typename Around>
void run_stages(Model& model, std::size_t schedule, Around&& around) {
  around("vision", [&] { model.vision(); });
  around("prefix", [&] { model.prefix(); });
  around("denoise", [&] { model.denoise(schedule); });
}

class Engine {
 public:
  // `device`: where it runs; null for that of the options. `dry`: no weight is read, so that what the device would do
  // is known, and its answers are worth nothing. `prepare` is called before weights are read, which take long: for what
  // else can fail.
  using Prepare = std::function<void(const Checkpoint&, const ModelShape&, const Limits&, Device&)>;
  Engine(const std::filesystem::path& directory, const LoadOptions& options, std::unique_ptr<Device> device = nullptr,
         bool dry = false, const Prepare& prepare = {});

  const std::string& family() const { return family_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const std::vector<int>& steps() const { return steps_; }
  std::int64_t workspace_bytes() const { return workspace_->capacity(); }
  std::int64_t weight_bytes() const { return weight_bytes_; }
  std::size_t graphs() const { return graphs_->count(); }
  // How linears are computed: what the model says, then the device.
  std::vector<std::string> linear_plan() const;
  Device& device() { return *device_; }
  Model& model() { return *model_; }

  // Index of a step count (0: the first). Throws Error(usage) naming those that were loaded.
  std::size_t schedule_of(int steps) const;

  // Copies a call's tensors to the device, but for noise that is to be drawn from the seed, since neither the options
  // nor the inputs carry any: run() draws it while the stages before denoise compute.
  void begin(const Inputs& inputs, const InferOptions& options);
  // The same with all noise, for whoever runs the stages otherwise.
  void upload(const Inputs& inputs, const InferOptions& options);
  // Starts the stages of the call begun; with a kept prefix, only the last.
  void run(std::size_t schedule, bool keep_prefix);
  // Their end: [B, n, A]. Throws Error(numeric) if a value is not finite.
  Array actions();
  // Adds what the stages that run() started took, once they have ended.
  void add_times(StageTimes& times, bool keep_prefix) const;
  // The stages, not as graphs, while `observer` sees every op; `begin` is told the name of each stage.
  void observe(std::size_t schedule, KernelObserver& observer, const std::function<void(const char*)>& begin);
  // The same with every op timed, grouped by stage, op and name.
  std::vector<OpRecord> profile(std::size_t schedule);

 private:
  void draw_noise();

  Checkpoint checkpoint_;
  std::string family_;
  std::unique_ptr<Device> device_;
  std::vector<int> steps_;
  std::unique_ptr<Model> model_;
  std::int64_t weight_bytes_ = 0;
  std::unique_ptr<Workspace> workspace_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Graphs> graphs_;
  CallShape call_;                     // extents of the call uploaded
  std::int64_t batch_ = 0;             // its samples
  bool prefix_is_kept_ = false;        // the cache holds the prefix of the call uploaded
  std::optional<std::uint64_t> seed_;  // of noise that is yet to be drawn
};

}  // namespace nervus
