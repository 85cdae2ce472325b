// What the tensor unit needs to know of a matrix.
#pragma once

#include <cuda.h>

#include "core/tensor.h"

namespace nervus::cuda {

// Of a row-major matrix on the device, of 16 or 8 bits, fetched in boxes of `rows` rows x 128 or 32 bytes, swizzled
// over as many bytes; what lies beyond its end is zero.
CUtensorMap tensor_map(const Tensor& x, int rows, int row_bytes = 128);

}  // namespace nervus::cuda
