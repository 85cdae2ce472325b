// A loaded checkpoint: load, infer, preprocess, what it is.
#include "nervus/policy.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "binding.h"

namespace nervus::python {
namespace {

std::unique_ptr<SharedPolicy> load(const std::filesystem::path& directory, const LoadOptions& options) {
  const nb::gil_scoped_release released;
  return std::make_unique<SharedPolicy>(Policy::load(directory, options));
}

void bind_info(nb::module_& module) {
  nb::class_<PolicyInfo>(module, "PolicyInfo", "What a loaded policy is.")
      .def_ro("family", &PolicyInfo::family)
      .def_ro("device", &PolicyInfo::device, "as \"cpu (2 threads, avx512_bf16)\"")
      .def_prop_ro(
          "precision", [](const PolicyInfo& info) { return std::string(name_of(info.precision)); },
          "\"f32\", \"bf16\", \"fp8\" or \"int8\"")
      .def_ro("steps", &PolicyInfo::steps, "step counts that infer accepts")
      .def_ro("chunk_steps", &PolicyInfo::chunk_steps, "actions in a chunk")
      .def_ro("state_dimensions", &PolicyInfo::state_dimensions, "of an observation's state")
      .def_ro("action_dimensions", &PolicyInfo::action_dimensions)
      .def_ro("joints", &PolicyInfo::joints, "of a state and an action, in their order; empty without a robot")
      .def_ro("cameras", &PolicyInfo::cameras, "names that an observation's images may have")
      .def_ro("limits", &PolicyInfo::limits)
      .def_ro("weight_bytes", &PolicyInfo::weight_bytes, "on the device")
      .def_ro("workspace_bytes", &PolicyInfo::workspace_bytes, "of activations and caches")
      .def_ro("device_bytes", &PolicyInfo::device_bytes, "all that it holds on the device")
      .def_ro("graphs", &PolicyInfo::graphs, "stages recorded at load")
      .def_ro("load_seconds", &PolicyInfo::load_seconds)
      .def_ro("linear_plan", &PolicyInfo::linear_plan, "how linears are computed, where there is a choice")
      .def_ro("attention_plan", &PolicyInfo::attention_plan, "which attention kernels are active, and why")
      .def("__repr__", &describe);
}

}  // namespace

void bind_policy(nb::module_& module) {
  bind_info(module);
  nb::class_<SharedPolicy>(module, "Policy")
      .def_static("load", &load, nb::arg("directory"), nb::arg("options"))
      .def(
          "infer",
          [](SharedPolicy& self, const Observation& observation, const InferOptions& options) {
            return self.run([&](Policy& policy) { return policy.infer(observation, options); });
          },
          nb::arg("observation"), nb::arg("options"))
      .def(
          "infer_tensors",
          [](SharedPolicy& self, const Inputs& inputs, const InferOptions& options) {
            return self.run([&](Policy& policy) { return policy.infer(inputs, options); });
          },
          nb::arg("inputs"), nb::arg("options"))
      .def(
          "preprocess",
          [](SharedPolicy& self, const Observation& observation) {
            return self.run([&](Policy& policy) { return policy.preprocess(observation); });
          },
          nb::arg("observation"))
      .def_prop_ro("info", [](const SharedPolicy& self) { return self.policy->info(); });
}

}  // namespace nervus::python
