// The safetensors format (https://github.com/huggingface/safetensors): a length, a JSON header, raw data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/file.h"
#include "nervus/array.h"

namespace nervus {

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t offset = 0;  // of the first byte, in the file
  std::uint64_t bytes = 0;   // element_count(shape) * size_of(dtype)
};

// "BF16": how a header names the type.
std::string format_name(DType dtype);

// A file of tensors, open for reading; its header is checked in full. Reading is const and may be done by many
// threads at once. Errors: checkpoint (the file is wrong), io (it cannot be read).
class Safetensors {
 public:
  static Safetensors open(const std::filesystem::path& path);

  // In the order of the data.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;  // null if there is none
  const std::string& path() const { return file_.path(); }
  // "model.safetensors: tensor 'x'": the beginning of every message about a tensor.
  std::string source(std::string_view name) const;

  // Reads a tensor of this file into `target`, element_count(shape) elements of type `to`: f32, f16, bf16, or the
  // tensor's own type. Converts by pieces of 1 MiB.
  void read(const TensorInfo& tensor, DType to, void* target) const;
  // A whole tensor in its own type. Throws Error(input) if there is none of that name.
  Array read(std::string_view name) const;
  // Raw bytes [begin, begin + bytes) of a tensor.
  std::string read_bytes(const TensorInfo& tensor, std::uint64_t begin, std::size_t bytes) const;

 private:
  explicit Safetensors(File file) : file_(std::move(file)) {}
  void place_tensors(std::uint64_t data_begin);

  File file_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// A tensor that will be written.
struct TensorDeclaration {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
};

// Writes a safetensors file as a stream: declare all tensors, append their bytes in that order, finish. As OutputFile,
// leaves nothing behind if it is destroyed before. Throws Error(io) if the file cannot be written, Error(internal) if
// the bytes are not those declared.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorDeclaration>& tensors);

  // The next bytes: may be a part of a tensor, or run over several.
  void append(const void* data, std::size_t bytes);
  // Checks that all was written and gives the file its name, replacing one that was there.
  void finish();

 private:
  OutputFile file_;
  std::uint64_t remaining_ = 0;
};

// Writes all arrays into one file.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Array>& arrays);

}  // namespace nervus
