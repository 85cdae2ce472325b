// The tensors of a call, checked.
#pragma once

#include "models/model.h"

namespace nervus {

// Throws Error(input) naming the tensor that has another type or shape than the model wants, exceeds the limits, or
// carries a value that is not finite. Returns the masks and tokens on the host.
Presence check_inputs(const Inputs& inputs, const ModelShape& shape, const Limits& limits);

}  // namespace nervus
