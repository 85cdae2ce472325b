// What the tensor unit needs to know of a matrix.
#pragma once

#include <cuda.h>

#include "core/tensor.h"

namespace nervus::cuda {

// Of a row-major matrix on the device, bf16 or of 8 bits, fetched in tiles of `rows` rows x 128 bytes, swizzled; what
// lies beyond its end is zero.
CUtensorMap tensor_map(const Tensor& x, int rows);

}  // namespace nervus::cuda
