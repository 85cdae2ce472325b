// The tensors of a call, checked.
#pragma once

#include "models/model.h"

namespace nervus {

// Throw Error(input) naming the tensor that has another type or shape than the model wants, or exceeds the limits.
// `noise` may be empty. That values are finite is found where they are copied.

// Of all tensors of a call, with `noise` in place of its own; returns the masks and tokens on the host.
Presence check_inputs(const Inputs& inputs, const Array& noise, const ModelShape& shape, const Limits& limits);
// Of those that change where the prefix is kept.
void check_state(const Array& state, const Array& noise, std::int64_t batch, const ModelShape& shape);

}  // namespace nervus
