#include "nervus/array_file.h"

#include <set>

#include "checkpoint/file.h"
#include "checkpoint/npy.h"
#include "checkpoint/pt.h"
#include "checkpoint/safetensors.h"
#include "core/message.h"

namespace nervus {
namespace {

bool is_array_file(const std::filesystem::path& path) {
  return path.extension() == ".safetensors" || path.extension() == ".npy" || path.extension() == ".pt";
}

std::map<std::string, Array> read_file(const std::filesystem::path& path) {
  if (path.extension() == ".npy") return {{path.stem().string(), read_npy(path)}};
  if (path.extension() == ".pt") return {{path.stem().string(), read_pt(path)}};
  if (!is_array_file(path)) {
    File::open(path);  // one that is not there is not of the wrong kind
    fail(ErrorKind::input, path.string(), ": expected a .safetensors, .npy or .pt file, or a directory of them");
  }
  return as_input([&] {
    std::map<std::string, Array> arrays;
    const Safetensors file = Safetensors::open(path);
    for (const auto& tensor : file.tensors()) arrays[tensor.name] = file.read(tensor.name);
    return arrays;
  });
}

}  // namespace

std::map<std::string, Array> read_arrays(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return read_file(path);
  std::set<std::filesystem::path> files;  // in order of their names
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (is_array_file(entry->path())) files.insert(entry->path());
  }
  if (error) fail(ErrorKind::io, path.string(), ": cannot be read: ", error.message());
  std::map<std::string, Array> arrays;
  std::map<std::string, std::string> sources;
  for (const auto& file : files) {
    for (auto& [name, array] : read_file(file)) {
      const auto [source, added] = sources.try_emplace(name, file.string());
      if (!added) fail(ErrorKind::input, file.string(), ": ", in_quotes(name), " is also in ", source->second);
      arrays[name] = std::move(array);
    }
  }
  if (arrays.empty())
    fail(ErrorKind::input, path.string(), ": expected .safetensors, .npy or .pt files in it, found none");
  return arrays;
}

void write_arrays(const std::filesystem::path& path, const std::map<std::string, Array>& arrays) {
  if (path.extension() == ".safetensors") return write_safetensors(path, arrays);
  if (path.extension() != ".npy") {
    fail(ErrorKind::usage, path.string(), ": expected a name that ends in .safetensors or .npy");
  }
  if (arrays.size() != 1) {
    fail(ErrorKind::usage, path.string(), ": a .npy file holds one array, not ", arrays.size(),
         ": write a .safetensors file");
  }
  write_npy(path, arrays.begin()->second);
}

}  // namespace nervus
