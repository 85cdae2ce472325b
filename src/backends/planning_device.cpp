#include "backends/planning_device.h"

#include "core/workspace.h"

namespace nervus {

PlanningDevice::PlanningDevice(Precision precision)
    : activation_(precision == Precision::f32 ? DType::f32 : DType::bf16) {}

Linear PlanningDevice::make_linear(const LinearSource& source) {
  Linear linear{.name = source.name, .inputs = source.inputs, .outputs = source.outputs, .input = {activation_}};
  linear.output = source.full_output ? DType::f32 : activation_;
  memory_ += source.inputs * source.outputs * static_cast<std::int64_t>(size_of(activation_));
  if (source.read_bias) linear.bias = {allocate(source.outputs * 4), DType::f32, 1, source.outputs};
  return linear;
}

void* PlanningDevice::allocate(std::int64_t bytes) {
  memory_ += bytes;
  return reinterpret_cast<void*>(Workspace::alignment);
}

}  // namespace nervus
