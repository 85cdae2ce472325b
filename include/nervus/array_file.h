// Arrays from and to files.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "nervus/array.h"

namespace nervus {

// All arrays of a .safetensors file; the one of a .npy or .pt file (torch.save of one tensor), under the file's name
// without its ending; or, of a directory, those of every such file in it. Throws Error(input) if a file is wrong, is
// of another kind, or a name occurs twice; Error(io) if one cannot be read.
std::map<std::string, Array> read_arrays(const std::filesystem::path& path);

// Writes a .safetensors file of any number of arrays, or a .npy of exactly one. Throws Error(usage) for another
// ending or number, Error(io) if the file cannot be written.
void write_arrays(const std::filesystem::path& path, const std::map<std::string, Array>& arrays);

// The name beside its own under which the library keeps a file that it writes until the file is whole.
std::filesystem::path partial_path(const std::filesystem::path& path);

}  // namespace nervus
