// What a caller may choose, in the command line's words.
#include "nervus/options.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "binding.h"
#include "nervus/error.h"

namespace nervus::python {
namespace {

void set_time_grid(LoadOptions& options, const std::string& name) {
  if (name != "exact" && name != "bf16-accumulated")
    throw Error(ErrorKind::usage, "time grid: expected exact or bf16-accumulated, found '" + name + "'");
  options.time_grid = name == "exact" ? TimeGrid::exact : TimeGrid::bf16_accumulated;
}

}  // namespace

void bind_options(nb::module_& module) {
  nb::class_<Limits>(module, "Limits", "The largest call that a policy will be given.")
      .def(nb::init<>())
      .def_rw("batch", &Limits::batch, "samples")
      .def_rw("views", &Limits::views, "camera views; 0: the checkpoint's")
      .def_rw("patches", &Limits::patches, "of a view; 0: the checkpoint's")
      .def_rw("text_tokens", &Limits::text_tokens, "0: the checkpoint's")
      .def("__repr__", &describe);
  nb::class_<LoadOptions>(module, "LoadOptions")
      .def(nb::init<>())
      .def(nb::init<const LoadOptions&>(), nb::arg("other"))
      .def_rw("device", &LoadOptions::device)
      .def_prop_rw(
          "precision", [](const LoadOptions& options) { return std::string(name_of(options.precision)); },
          [](LoadOptions& options, const std::string& name) { options.precision = precision_from(name); })
      .def_rw("recipe", &LoadOptions::recipe)
      .def_rw("calibration", &LoadOptions::calibration)
      .def_prop_rw(
          "attention", [](const LoadOptions& options) { return std::string(name_of(options.attention)); },
          [](LoadOptions& options, const std::string& name) { options.attention = attention_from(name); })
      .def_rw("plan", &LoadOptions::plan)
      .def_rw("threads", &LoadOptions::threads)
      .def_rw("steps", &LoadOptions::steps)
      .def_prop_rw(
          "time_grid",
          [](const LoadOptions& options) {
            return std::string(options.time_grid == TimeGrid::exact ? "exact" : "bf16-accumulated");
          },
          set_time_grid)
      .def_rw("limits", &LoadOptions::limits)
      .def_rw("robot", &LoadOptions::robot)
      .def_rw("norm_stats", &LoadOptions::norm_stats)
      .def_rw("normalization", &LoadOptions::normalization)
      .def_rw("progress", &LoadOptions::progress);
  nb::class_<InferOptions>(module, "InferOptions")
      .def(nb::init<>())
      .def_rw("steps", &InferOptions::steps)
      .def_rw("seed", &InferOptions::seed)
      .def_rw("keep_prefix", &InferOptions::keep_prefix)
      .def(
          "set_noise",
          [](InferOptions& options, const AnyArray& noise) {
            options.noise = array_from(noise, "noise");
            if (options.noise.bytes.empty()) {
              throw Error(ErrorKind::input, "noise: expected values, found " + to_string(options.noise.shape) +
                                                ": leave it None for the seed's");
            }
            if (options.noise.shape.size() == 2) options.noise.shape.insert(options.noise.shape.begin(), 1);
          },
          nb::arg("noise"), "f32 [n_action_steps, max_action_dim], perhaps with a batch in front.");
}

}  // namespace nervus::python
