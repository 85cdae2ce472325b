// The reference device: every kernel of backends/kernels.h in plain scalar loops with float64 accumulation, over
// ordinary memory. What the backends' kernels are tested against; a whole model can run on it, slowly.
#pragma once

#include <memory>

#include "backends/device.h"

namespace nervus {

// Weights and activations are rounded to `precision` where a backend rounds them; all arithmetic is float64. Linears in
// e4m3 or i8 have inputs and weights rounded to it.
std::unique_ptr<Device> make_reference_device(Precision precision);

}  // namespace nervus
