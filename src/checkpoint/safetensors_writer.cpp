#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "checkpoint/json.h"
#include "checkpoint/layout.h"
#include "checkpoint/safetensors.h"
#include "core/check.h"

namespace nervus {

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorDeclaration>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const auto& tensor : tensors) {
    const auto bytes = checked_bytes(tensor.shape, tensor.dtype);
    check(bytes && !header.contains(tensor.name), "SafetensorsWriter: distinct names, shapes that can be counted");
    const std::uint64_t begin = remaining_;
    remaining_ += *bytes;
    header[tensor.name] = {
        {"dtype", format_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {begin, remaining_}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data begin at a multiple of 8 bytes
  const std::uint64_t length = text.size();
  file_.write(&length, sizeof(length));
  file_.write(text.data(), text.size());
}

void SafetensorsWriter::append(const void* data, std::size_t bytes) {
  check(bytes <= remaining_, "SafetensorsWriter: no more bytes than declared");
  file_.write(data, bytes);
  remaining_ -= bytes;
}

void SafetensorsWriter::finish() {
  check(remaining_ == 0, "SafetensorsWriter: all bytes that were declared");
  file_.finish();
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Array>& arrays,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorDeclaration> tensors;
  for (const auto& [name, array] : arrays) tensors.push_back({name, array.dtype, array.shape});
  // Large elements first: then each tensor is aligned to its own.
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto& a, const auto& b) { return size_of(a.dtype) > size_of(b.dtype); });
  SafetensorsWriter writer(path, tensors, metadata);
  for (const auto& tensor : tensors) {
    const Array& array = arrays.at(tensor.name);
    writer.append(array.bytes.data(), array.bytes.size());
  }
  writer.finish();
}

}  // namespace nervus
