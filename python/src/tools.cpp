// Tools around a policy: inspect, calibrate, synth, doctor.
#include "nervus/tools.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "binding.h"

namespace nervus::python {
namespace {

void bind_inspect(nb::module_& module) {
  nb::class_<PartReport>(module, "PartReport", "How large a part of a checkpoint is.")
      .def_ro("part", &PartReport::part)
      .def_ro("tensors", &PartReport::tensors)
      .def_ro("parameters", &PartReport::parameters)
      .def("__repr__", &describe);
  nb::class_<StageWork>(module, "StageWork", "What a stage of one call has to do.")
      .def_ro("stage", &StageWork::stage)
      .def_ro("flops", &StageWork::flops)
      .def_ro("weight_bytes", &StageWork::weight_bytes)
      .def("__repr__", &describe);
  nb::class_<CheckpointReport>(module, "CheckpointReport", "What a checkpoint is.")
      .def_ro("family", &CheckpointReport::family)
      .def_ro("variants", &CheckpointReport::variants)
      .def_ro("sizes", &CheckpointReport::sizes)
      .def_ro("parts", &CheckpointReport::parts)
      .def_ro("formats", &CheckpointReport::formats, "dtype -> tensors")
      .def_ro("linears", &CheckpointReport::linears, "dtype -> linears that are held in it")
      .def_ro("missing", &CheckpointReport::missing, "required tensors that are absent")
      .def_ro("mismatched", &CheckpointReport::mismatched)
      .def_ro("unknown", &CheckpointReport::unknown, "tensors that the model does not know")
      .def_ro("files", &CheckpointReport::files)
      .def_ro("work", &CheckpointReport::work)
      .def_ro("file_bytes", &CheckpointReport::file_bytes)
      .def_ro("weight_bytes", &CheckpointReport::weight_bytes)
      .def_ro("workspace_bytes", &CheckpointReport::workspace_bytes)
      .def_ro("device", &CheckpointReport::device)
      .def_ro("attention_plan", &CheckpointReport::attention_plan)
      .def_ro("linear_plan", &CheckpointReport::linear_plan)
      .def_ro("device_bytes", &CheckpointReport::device_bytes)
      .def_ro("graphs", &CheckpointReport::graphs)
      .def_ro("digest", &CheckpointReport::digest)
      .def("__repr__", &describe);
  module.def("inspect", &inspect, nb::arg("directory"), nb::arg("options"), nb::call_guard<nb::gil_scoped_release>());
}

void bind_calibrate(nb::module_& module) {
  nb::class_<LinearRange>(module, "LinearRange", "What entered one linear.")
      .def_ro("linear", &LinearRange::linear, "its (first) tensor in the checkpoint")
      .def_ro("range", &LinearRange::range, "fp8's scale is range / 448")
      .def_ro("largest", &LinearRange::largest, "|x| seen")
      .def_ro("values", &LinearRange::values, "seen")
      .def_ro("beyond", &LinearRange::beyond, "of them, with |x| > range")
      .def("__repr__", &describe);
  nb::class_<CalibrationReport>(module, "CalibrationReport", "What entered each linear over samples.")
      .def_ro("digest", &CalibrationReport::digest, "of the checkpoint")
      .def_ro("samples", &CalibrationReport::samples)
      .def_ro("percentile", &CalibrationReport::percentile)
      .def_ro("linears", &CalibrationReport::linears, "in the order of their names")
      .def_ro("streams", &CalibrationReport::streams, "of those that read a norm: before its rows are normalised")
      .def("__repr__", &describe);
  nb::class_<CalibrateOptions>(module, "CalibrateOptions")
      .def(nb::init<>())
      .def_rw("load", &CalibrateOptions::load)
      .def_rw("percentile", &CalibrateOptions::percentile)
      .def_rw("check", &CalibrateOptions::check)
      .def_rw("progress", &CalibrateOptions::progress);
  module.def("calibrate", &calibrate, nb::arg("directory"), nb::arg("count"), nb::arg("sample"), nb::arg("options"),
             nb::call_guard<nb::gil_scoped_release>());
  module.def("write_calibration", &write_calibration, nb::arg("path"), nb::arg("report"));
}

void bind_synth(nb::module_& module) {
  nb::class_<SynthOptions>(module, "SynthOptions")
      .def(nb::init<>())
      .def_rw("preset", &SynthOptions::preset)
      .def_rw("seed", &SynthOptions::seed)
      .def_rw("dtype", &SynthOptions::dtype)
      .def_rw("outliers", &SynthOptions::outliers)
      .def_rw("threads", &SynthOptions::threads)
      .def_rw("progress", &SynthOptions::progress);
  module.def("synthesise", &synthesise, nb::arg("directory"), nb::arg("options"),
             nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace

void bind_tools(nb::module_& module) {
  bind_inspect(module);
  bind_calibrate(module);
  bind_synth(module);
  nb::class_<Finding>(module, "Finding", "What this build and machine can do.")
      .def_ro("what", &Finding::what)
      .def_ro("good", &Finding::good)
      .def_ro("detail", &Finding::detail, "what was found")
      .def_ro("mend", &Finding::mend, "how to mend it; empty where nothing is to be done")
      .def("__repr__", &describe);
  module.def("examine_machine", &examine_machine, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace nervus::python
