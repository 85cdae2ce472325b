#include "backends/planning_device.h"

#include "core/workspace.h"

namespace nervus {

PlanningDevice::PlanningDevice(Precision precision)
    : activation_(precision == Precision::f32 ? DType::f32 : DType::bf16) {}

Linear PlanningDevice::make_linear(const LinearSource& source) {
  LinearSource shapes = source;
  if (source.read_bias) shapes.read_bias = [](float*) {};
  const Linear w = begin_linear(shapes);
  memory_ += w.inputs * w.outputs * static_cast<std::int64_t>(size_of(w.input.dtype));
  if (size_of(w.input.dtype) == 1) memory_ += w.outputs * static_cast<std::int64_t>(sizeof(float));
  linears_.push_back({w.name, w.input.dtype});
  return w;
}

void* PlanningDevice::allocate(std::int64_t bytes) {
  memory_ += bytes;
  return reinterpret_cast<void*>(Workspace::alignment);
}

}  // namespace nervus
