// Arrays of numpy as the public clients pack them: maps {__ndarray__: true, data, dtype: "<f4", shape}, or of one value
// {__npgeneric__: true, data, dtype}; keys are strings or binaries.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nervus/array.h"
#include "wire/msgpack.h"

namespace nervus::wire {

// An array whose bytes lie in a message. Row-major, little-endian.
struct ArrayView {
  DType dtype = DType::f32;
  Shape shape;
  std::string_view bytes;
};

// Empty if the value is no map with `__ndarray__`. Throws Error(input), whose message begins with `name`, for a type,
// shape or number of bytes that is refused.
std::optional<ArrayView> read_array(const MsgpackValue& value, const std::string& name);

// Numbers from an array, a value of numpy, a list of numbers, or one number. Throws Error(input).
std::vector<float> read_numbers(const MsgpackValue& value, const std::string& name);

// Appends {__ndarray__: true, data, dtype, shape}. The type must be one that read_array takes.
void write_array(MsgpackWriter& writer, const ArrayView& array);
void write_array(MsgpackWriter& writer, const std::vector<float>& values, const Shape& shape);

}  // namespace nervus::wire
