// One tensor as torch.save writes it: a zip of a pickle and the raw bytes of its storage.
#pragma once

#include <filesystem>

#include "nervus/array.h"

namespace nervus {

// Reads the tensor, in C order whatever its strides. Of the pickle it understands the one sentence that torch.save
// writes for a tensor; nothing is looked up or run. Throws Error(input) if the file is wrong or holds anything but one
// plain tensor, Error(io) if it cannot be read.
Array read_pt(const std::filesystem::path& path);

}  // namespace nervus
