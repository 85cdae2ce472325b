// include/nervus/nervus.h over the C++ interface: handles own what they show, errors become codes and a message.
#include "nervus/nervus.h"

#include <mutex>

#include "capi/arguments.h"

namespace {

using nervus::capi::require;

thread_local std::string last_message;

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  return pointers;
}

nervus_code remember() noexcept {
  try {
    const nervus::Error error = nervus::current_error();
    last_message = error.what();
    return static_cast<nervus_code>(nervus::exit_code(error.kind()));
  } catch (...) {  // no memory even for the message
    last_message.clear();
    return NERVUS_UNSUPPORTED;
  }
}

// No exception leaves the library.
template <typename Work>
nervus_code guarded(Work&& work) noexcept {
  try {
    work();
    return NERVUS_OK;
  } catch (...) {
    return remember();
  }
}

}  // namespace

struct nervus_policy {
  explicit nervus_policy(nervus::Policy loaded) : policy(std::move(loaded)) {
    const nervus::PolicyInfo& info = policy.info();
    steps.assign(info.steps.begin(), info.steps.end());
    joints = pointers(info.joints);
    cameras = pointers(info.cameras);
  }

  nervus::Policy policy;
  std::mutex mutex;  // one call at a time
  std::vector<std::int32_t> steps;
  std::vector<const char*> joints, cameras;
};

struct nervus_actions {
  explicit nervus_actions(nervus::ActionChunk answered)
      : chunk(std::move(answered)), names(pointers(chunk.names)), units(pointers(chunk.units)) {
    for (const auto& [stage, time] : chunk.timing) {
      stages.push_back(stage.c_str());
      milliseconds.push_back(time);
    }
  }

  nervus::ActionChunk chunk;
  std::vector<const char*> names, units, stages;
  std::vector<double> milliseconds;
};

namespace {

template <typename Input>
void infer(nervus_policy& policy, const Input& input, const nervus_infer_options* options, nervus_actions** actions) {
  const nervus::InferOptions infer = nervus::capi::infer_options(options);
  const std::scoped_lock lock(policy.mutex);
  *actions = new nervus_actions(policy.policy.infer(input, infer));
}

void require_call(const nervus_policy* policy, nervus_actions** actions) {
  require(actions, "actions", "the address of a pointer");
  *actions = nullptr;
  require(policy, "policy", "a loaded policy");
}

}  // namespace

const char* nervus_version(void) { return nervus::version(); }

const char* nervus_error_message(void) { return last_message.c_str(); }

const char* nervus_error_name(int code) {
  if (code == NERVUS_OK) return "ok";
  using enum nervus::ErrorKind;
  for (const nervus::ErrorKind kind : {usage, input, checkpoint, unsupported, io, numeric, device, internal})
    if (nervus::exit_code(kind) == code) return nervus::name_of(kind);
  return "unknown";
}

nervus_code nervus_policy_load(const char* directory, const nervus_load_options* options, nervus_policy** policy) {
  return guarded([&] {
    require(policy, "policy", "the address of a pointer");
    *policy = nullptr;
    require(directory, "directory", "a checkpoint's directory");
    *policy = new nervus_policy(nervus::Policy::load(directory, nervus::capi::load_options(options)));
  });
}

nervus_code nervus_policy_describe(const nervus_policy* policy, nervus_description* description) {
  return guarded([&] {
    require(policy, "policy", "a loaded policy");
    const nervus::PolicyInfo& info = policy->policy.info();
    const nervus_description found = {.size = 0,
                                      .family = info.family.c_str(),
                                      .device = info.device.c_str(),
                                      .precision = nervus::name_of(info.precision),
                                      .steps = policy->steps.data(),
                                      .step_count = policy->steps.size(),
                                      .joints = policy->joints.data(),
                                      .joint_count = policy->joints.size(),
                                      .cameras = policy->cameras.data(),
                                      .camera_count = policy->cameras.size(),
                                      .chunk_steps = info.chunk_steps,
                                      .state_dimensions = info.state_dimensions,
                                      .action_dimensions = info.action_dimensions,
                                      .batch = info.limits.batch,
                                      .views = info.limits.views,
                                      .patches = info.limits.patches,
                                      .text_tokens = info.limits.text_tokens,
                                      .weight_bytes = info.weight_bytes,
                                      .workspace_bytes = info.workspace_bytes,
                                      .device_bytes = info.device_bytes};
    nervus::capi::write(description, found, "description");
  });
}

void nervus_policy_free(nervus_policy** policy) {
  if (policy == nullptr) return;
  delete *policy;
  *policy = nullptr;
}

nervus_code nervus_policy_infer(nervus_policy* policy, const nervus_observation* observation,
                                const nervus_infer_options* options, nervus_actions** actions) {
  return guarded([&] {
    require_call(policy, actions);
    infer(*policy, nervus::capi::observation(observation), options, actions);
  });
}

nervus_code nervus_policy_infer_tensors(nervus_policy* policy, const nervus_tensor* tensors, size_t count,
                                        const nervus_infer_options* options, nervus_actions** actions) {
  return guarded([&] {
    require_call(policy, actions);
    infer(*policy, nervus::capi::inputs(tensors, count), options, actions);
  });
}

nervus_code nervus_actions_read(const nervus_actions* actions, nervus_chunk* chunk) {
  return guarded([&] {
    require(actions, "actions", "the answer of a call");
    const nervus::ActionChunk& found = actions->chunk;
    nervus::capi::write(chunk,
                        {.size = 0,
                         .batch = found.batch,
                         .steps = found.steps,
                         .dimensions = found.dimensions,
                         .values = found.values.data(),
                         .names = actions->names.data(),
                         .units = actions->units.data(),
                         .stages = actions->stages.data(),
                         .milliseconds = actions->milliseconds.data(),
                         .stage_count = actions->stages.size()},
                        "chunk");
  });
}

void nervus_actions_free(nervus_actions** actions) {
  if (actions == nullptr) return;
  delete *actions;
  *actions = nullptr;
}
