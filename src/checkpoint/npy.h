// NumPy's .npy format, versions 1 to 3 (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#pragma once

#include <filesystem>

#include "nervus/array.h"

namespace nervus {

// Little-endian booleans, integers and floats of 1 to 8 bytes; Fortran order is transposed. Throws Error(input) if the
// file is wrong or holds anything else, Error(io) if it cannot be read.
Array read_npy(const std::filesystem::path& path);

// Version 1, C order. Throws Error(input) for bf16, which the format cannot name, and Error(io).
void write_npy(const std::filesystem::path& path, const Array& array);

}  // namespace nervus
