// The tensors of a call, checked.
#pragma once

#include "models/model.h"

namespace nervus {

// Throw Error(input) naming the tensor that has another type or shape than the model wants, or exceeds the limits.
// `noise` may be none. That values are finite is found where they are copied.

// Whether a caller gave an array of a call: one of no samples is given, and wrong; Array() is none.
inline bool is_given(const Array& array) { return array.shape != Array().shape; }

// Of all tensors of a call, with `noise` in place of its own; returns the masks and tokens on the host.
Presence check_inputs(const Inputs& inputs, const Array& noise, const ModelShape& shape, const Limits& limits);
// Of those that change where the prefix is kept.
void check_state(const Array& state, const Array& noise, std::int64_t batch, const ModelShape& shape);

}  // namespace nervus
