#include "runtime/engine.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "backends/planning_device.h"
#include "checkpoint/file.h"
#include "core/message.h"
#include "preprocess/noise.h"
#include "runtime/formats.h"
#include "runtime/inputs.h"

namespace nervus {
namespace {

constexpr std::size_t faults_shown = 5;
constexpr std::uint64_t most_plan_bytes = std::uint64_t{16} << 20;

std::int64_t limit_or(std::int64_t value, std::int64_t fallback, std::int64_t largest, const char* name) {
  if (value == 0) value = fallback;
  if (value < 1 || value > largest) {
    fail(ErrorKind::usage, "limit '", name, "': expected 1 to ", largest, ", found ", value);
  }
  return value;
}

// The step counts, each once; the checkpoint's own where none are given. Throws Error(usage) outside 1 to 1000.
std::vector<int> complete_steps(const std::vector<int>& steps, const ModelShape& shape) {
  std::vector<int> complete;
  for (const int count : steps) {
    if (count < 1 || count > 1000) fail(ErrorKind::usage, "steps: expected 1 to 1000, found ", count);
    if (std::find(complete.begin(), complete.end(), count) == complete.end()) complete.push_back(count);
  }
  if (complete.empty()) complete.push_back(shape.steps);
  return complete;
}

// The bytes that the calls which the limits allow need, the largest and those of fewer samples, which may be computed
// otherwise: run over a workspace that measures.
std::int64_t rehearse(Model& model, DType activation) {
  Workspace workspace = Workspace::measuring();
  NoKernels kernels;
  Ops ops(kernels, workspace, activation);
  model.attach(ops);
  std::vector<CallShape> shapes = {model.call_shapes().largest()};
  for (const std::int64_t batch : model.call_shapes().batch()) shapes.push_back({.batch = batch});
  for (const CallShape& shape : shapes) {
    model.lay_out(shape);
    if (shape.views > 0) run_stages(model, 0, [](const char*, const auto& stage) { stage(); });
    else model.denoise(0);
  }
  return workspace.peak();
}

// Gives the device the choices of the file, if there is one; returns its text.
std::string read_plan(Device& device, const std::filesystem::path& plan) {
  if (plan.empty() || !is_there(plan)) return "";
  std::string text = read_text(plan, most_plan_bytes);
  device.use_choices(text, plan.string());
  return text;
}

// Adds the device's choices to those of the file, which other replicas may have written since it was read.
void write_plan(Device& device, const std::filesystem::path& plan) {
  static std::mutex one_at_a_time;
  if (plan.empty()) return;
  const std::lock_guard lock(one_at_a_time);
  const std::string before = read_plan(device, plan), now = device.choices();
  if (now != before) write_text(plan, now);
}

void refuse_fast_attention(const LoadOptions& options) {
  if (options.attention != Attention::fast) return;
  fail(ErrorKind::unsupported, "attention 'fast': device 'cpu' has one attention kernel, for every shape: use ",
       "--attention auto, or another device");
}

}  // namespace

std::unique_ptr<Device> open_device(const LoadOptions& options, bool fuse) {
  if (options.threads < 0 || options.threads > 1024) {
    fail(ErrorKind::usage, "threads: expected 0 (all cores) to 1024, found ", options.threads);
  }
  // Of 8 bits a device is told by use_formats; its activations are bf16.
  const Precision precision = has_recipe(options.precision) ? Precision::bf16 : options.precision;
  if (const auto ordinal = cuda_ordinal(options.device)) {
    return make_cuda_device(precision, *ordinal, fuse, options.attention);
  }
  refuse_fast_attention(options);
  return make_cpu_device(precision, options.threads);
}

std::optional<int> cuda_ordinal(const std::string& device) {
  if (device == "cpu") return std::nullopt;
  if (device == "cuda") return 0;
  if (device.starts_with("cuda:")) {
    const std::string digits = device.substr(5);
    if (!digits.empty() && digits.size() <= 4 && digits.find_first_not_of("0123456789") == std::string::npos) {
      return std::stoi(digits);
    }
  }
  fail(ErrorKind::usage, "device '", device, "': expected cpu, cuda or cuda:N");
}

Limits complete_limits(const Limits& limits, const ModelShape& shape) {
  const std::int64_t grid = shape.image_side / shape.patches.patch;
  return {
      .batch = limit_or(limits.batch, 1, largest_limits.batch, "batch"),
      .views = limit_or(limits.views, static_cast<std::int64_t>(shape.cameras.size()), largest_limits.views, "views"),
      .patches = limit_or(limits.patches, grid * grid, largest_limits.patches, "patches"),
      .text_tokens = limit_or(limits.text_tokens, shape.text_tokens, largest_limits.text_tokens, "text_tokens")};
}

void check_tensors(const Checkpoint& checkpoint, const ModelDescription& description) {
  std::vector<std::string> faults = missing_tensors(checkpoint, description);
  for (std::string& fault : mismatched_tensors(checkpoint, description)) faults.push_back(std::move(fault));
  if (faults.empty()) return;
  std::string message;
  for (std::size_t i = 0; i < std::min(faults.size(), faults_shown); ++i) message += faults[i] + "\n";
  if (faults.size() > faults_shown)
    message +=
        concat("and ", plural(faults.size() - faults_shown, "fault"), " more: `nervus inspect` lists them all\n");
  fail(ErrorKind::checkpoint, message, "take config.json and the weights from one checkpoint");
}

Engine::Engine(const std::filesystem::path& directory, const LoadOptions& options, std::unique_ptr<Device> device,
               bool dry, const Prepare& prepare)
    : checkpoint_(Checkpoint::open(directory)), device_(std::move(device)) {
  const Fields config = checkpoint_.config_fields();
  const Family& family = family_of(config, &checkpoint_);
  family_ = family.name;
  const ModelDescription description = family.describe(config, &checkpoint_);
  check_tensors(checkpoint_, description);
  const ModelShape& shape = description.shape;
  steps_ = complete_steps(options.steps, shape);
  const bool on_cpu = !cuda_ordinal(options.device);
  if (on_cpu) refuse_fast_attention(options);  // also where another device plans for it
  if (!options.plan.empty() && on_cpu)
    fail(ErrorKind::unsupported, "plan '", options.plan.string(), "': device 'cpu' has no choices to keep, its sums ",
         "are the same in every load: leave the option out, or use another device");
  const Limits limits = complete_limits(options.limits, shape);
  if (!device_) device_ = open_device(options);
  if (prepare) prepare(checkpoint_, shape, limits, *device_);
  const auto alone = device_->hold_loads();
  read_plan(*device_, options.plan);
  device_->use_formats(formats_for(checkpoint_, family, description, options, *device_, dry));
  model_ = family.load(
      checkpoint_, *device_,
      {.limits = limits, .steps = steps_, .time_grid = options.time_grid, .progress = options.progress, .dry = dry});
  weight_bytes_ = device_->memory();
  const std::int64_t bytes = rehearse(*model_, device_->activation());
  workspace_ = std::make_unique<Workspace>(device_->allocate(bytes), bytes);
  ops_ = std::make_unique<Ops>(device_->kernels(), *workspace_, device_->activation());
  model_->attach(*ops_);
  if (!dry) model_->reserve_staging(*device_);
  const auto progress = [&](std::size_t captured) {
    const auto bytes = static_cast<std::int64_t>(checkpoint_.total_bytes());
    if (options.progress) options.progress(bytes, bytes, concat("capturing graph ", captured));
  };
  graphs_ = std::make_unique<Graphs>(*model_, *device_, steps_.size(), progress);
  if (!dry) write_plan(*device_, options.plan);
}

std::vector<std::string> Engine::linear_plan() const {
  std::vector<std::string> lines = model_->plan();
  for (std::string& line : device_->plan()) lines.push_back(std::move(line));
  return lines;
}

std::size_t Engine::schedule_of(int steps) const {
  if (steps == 0) return 0;
  const auto found = std::find(steps_.begin(), steps_.end(), steps);
  if (found != steps_.end()) return static_cast<std::size_t>(found - steps_.begin());
  fail(ErrorKind::usage, "steps: expected one of those that the policy was loaded for (", joined(steps_), "), found ",
       steps, ": add it to LoadOptions::steps");
}

void Engine::begin(const Inputs& inputs, const InferOptions& options) {
  const ModelShape& shape = model_->shape();
  const Array& given = is_given(options.noise) ? options.noise : inputs.noise;
  Presence presence{.batch = batch_};
  if (!options.keep_prefix) {
    presence = check_inputs(inputs, given, shape, model_->limits());
  } else if (prefix_is_kept_) {
    check_state(inputs.state, given, batch_, shape);
  } else {
    fail(ErrorKind::usage, "keep_prefix: expected a call before this one whose images and text are kept, found none");
  }
  if (options.keep_prefix) {
    model_->upload_state(*device_, inputs.state, given);
  } else {
    call_ = model_->upload(*device_, presence, inputs, given);
    batch_ = presence.batch;
    prefix_is_kept_ = false;
  }
  if (given.bytes.empty()) seed_ = options.seed;
  else seed_.reset();
}

void Engine::upload(const Inputs& inputs, const InferOptions& options) {
  begin(inputs, options);
  draw_noise();
}

void Engine::draw_noise() {
  if (!seed_) return;
  const ModelShape& shape = model_->shape();
  Array noise(DType::f32, {batch_, shape.chunk, shape.action});
  const std::int64_t values = shape.chunk * shape.action;
  for (std::int64_t b = 0; b < batch_; ++b) {
    fill_normal(*seed_, static_cast<std::uint64_t>(b), noise.data<float>() + b * values,
                static_cast<std::size_t>(values));
  }
  model_->upload_noise(*device_, noise);
  seed_.reset();
}

void Engine::run(std::size_t schedule, bool keep_prefix) {
  device_->note(0);
  if (!keep_prefix) {
    graphs_->vision(call_);
    device_->note(1);
    graphs_->prefix(call_);
    prefix_is_kept_ = true;
  }
  draw_noise();
  device_->note(2);
  graphs_->denoise(call_, schedule);
  device_->note(3);
}

void Engine::add_times(StageTimes& times, bool keep_prefix) const {
  if (!keep_prefix) {
    times["vision"] += device_->milliseconds(0, 1);
    times["prefix"] += device_->milliseconds(1, 2);
  }
  times["denoise"] += device_->milliseconds(2, 3);
}

Array Engine::actions() {
  const ModelShape& shape = model_->shape();
  Array actions(DType::f32, {batch_, shape.chunk, shape.action});
  device_->download(actions.bytes.data(), model_->actions().slice(0, batch_ * shape.chunk));
  const float* values = actions.data<float>();
  for (std::int64_t i = 0; i < actions.count(); ++i) {
    if (std::isfinite(values[i])) continue;
    const std::int64_t row = i / shape.action;
    fail(ErrorKind::numeric, "actions[", row / shape.chunk, ", ", row % shape.chunk, ", ", i % shape.action,
         "]: expected a finite value, found ", values[i],
         ": the weights or inputs overflow; try --precision f32, or check the checkpoint");
  }
  return actions;
}

}  // namespace nervus
