#include "backends/planning_device.h"

#include "core/workspace.h"

namespace nervus {

PlanningDevice::PlanningDevice(Precision precision)
    : activation_(precision == Precision::f32 ? DType::f32 : DType::bf16) {}

Linear PlanningDevice::make_linear(const LinearSource& source) {
  memory_ += source.inputs * source.outputs * static_cast<std::int64_t>(size_of(activation_));
  LinearSource shapes = source;
  if (source.read_bias) shapes.read_bias = [](float*) {};
  return begin_linear(shapes);
}

void* PlanningDevice::allocate(std::int64_t bytes) {
  memory_ += bytes;
  return reinterpret_cast<void*>(Workspace::alignment);
}

}  // namespace nervus
