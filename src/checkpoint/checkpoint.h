// Checkpoint: a directory of weights. model.safetensors, or model.safetensors.index.json and its shards, and
// config.json beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/json.h"
#include "checkpoint/safetensors.h"

namespace nervus {

// Reading is const and may be done by many threads at once.
class Checkpoint {
 public:
  // Opens and checks every file: each tensor of the index is in its shard and in no other, nothing is in a shard that
  // the index does not name, sizes agree. Throws Error(checkpoint), or Error(io) if a file cannot be read.
  static Checkpoint open(const std::filesystem::path& directory);

  const TensorInfo* find(std::string_view name) const;  // null if there is none
  std::vector<std::string> names() const;               // sorted
  // As Safetensors::read; Error(checkpoint) if there is no tensor of that name.
  void read(const std::string& name, DType to, void* target) const;
  Array read(const std::string& name, DType to) const;
  // "model-00002.safetensors: tensor 'x'", also for a name that no file has: the beginning of messages.
  std::string source(std::string_view name) const;

  std::uint64_t total_bytes() const;  // of all tensors, as they are stored
  // 16 hexadecimal digits that identify the weights: FNV-1a (64 bit) over each tensor in order of its name: name,
  // type, shape, and four windows of up to 256 bytes spread over its data. The same for one file or many.
  std::string digest() const;
  const std::filesystem::path& directory() const { return directory_; }
  // config.json. Throws Error(io) if there is none, Error(checkpoint) if it is not a JSON object.
  Fields config_fields() const;

 private:
  struct Place {
    std::size_t file;
    const TensorInfo* tensor;
  };

  explicit Checkpoint(std::filesystem::path directory) : directory_(std::move(directory)) {}
  void add_file(const std::filesystem::path& path);
  void open_index(const std::filesystem::path& path);
  const Place& place(const std::string& name) const;

  std::filesystem::path directory_;
  std::vector<Safetensors> files_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace nervus
