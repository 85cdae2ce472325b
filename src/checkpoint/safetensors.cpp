#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>

#include "checkpoint/json.h"
#include "checkpoint/layout.h"
#include "core/check.h"
#include "core/dtype.h"

namespace nervus {
namespace {

constexpr std::uint64_t longest_header = 100'000'000;
constexpr std::uint64_t piece_bytes = std::uint64_t{1} << 20;

// One entry of the header: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}. Leaves the offset as it is
// there, from the beginning of the data.
TensorInfo read_entry(const Fields& header, const std::string& name, const std::string& source,
                      std::uint64_t data_bytes) {
  if (!header.value(name).is_object()) header.refuse(name, "an object that describes a tensor");
  const Fields entry(header.value(name), source);
  for (const auto& field : entry.names()) {
    if (field != "dtype" && field != "shape" && field != "data_offsets") {
      fail(ErrorKind::checkpoint, source + ": expected only dtype, shape and data_offsets, found " + in_quotes(field));
    }
  }
  TensorInfo tensor{
      .name = name, .dtype = dtype_named(entry.text("dtype"), format_name, source), .shape = read_shape(entry)};
  const auto offsets = entry.integers("data_offsets", 0);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    entry.refuse("data_offsets", "two offsets, the begin and the end");
  }
  tensor.offset = static_cast<std::uint64_t>(offsets[0]);
  tensor.bytes = static_cast<std::uint64_t>(offsets[1] - offsets[0]);
  const auto expected = checked_bytes(tensor.shape, tensor.dtype);
  if (!expected || *expected != tensor.bytes) {
    fail(ErrorKind::checkpoint, source + ": " + to_string(tensor.shape) + " of " + name_of(tensor.dtype) + " is " +
                                    (expected ? plural(static_cast<long long>(*expected), "byte")
                                              : std::string("more bytes than 64 bits can count")) +
                                    ", but data_offsets give it " + std::to_string(tensor.bytes));
  }
  if (tensor.offset + tensor.bytes > data_bytes) {
    fail(ErrorKind::checkpoint, source + ": its data end at byte " + std::to_string(tensor.offset + tensor.bytes) +
                                    ", but the file holds only " + std::to_string(data_bytes) +
                                    " bytes of data: it was cut short, copy it again");
  }
  return tensor;
}

// The JSON text between the length and the data, padding and all.
std::string read_header(const File& file) {
  if (file.size() < 8) {
    fail(ErrorKind::checkpoint, file.path() + ": expected a safetensors file, found only " +
                                    plural(static_cast<long long>(file.size()), "byte"));
  }
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t length = 0;
  file.read(0, &length, sizeof(length));
  if (length > longest_header || length > file.size() - 8) {
    fail(
        ErrorKind::checkpoint,
        file.path() + ": expected a header of at most " + std::to_string(std::min(longest_header, file.size() - 8)) +
            " bytes, found the length " + std::to_string(length) +
            (length > longest_header ? ": this is not a safetensors file" : ": the file was cut short, copy it again"));
  }
  std::string header(length, '\0');
  file.read(8, header.data(), header.size());
  if (!header.starts_with('{')) fail(ErrorKind::checkpoint, file.path() + ": expected the header to begin with '{'");
  if (header[header.find_last_not_of(' ')] != '}') {
    fail(ErrorKind::checkpoint, file.path() + ": expected the header to end with '}' and spaces only");
  }
  return header;
}

}  // namespace

std::string format_name(DType dtype) {
  std::string name = name_of(dtype);
  for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return name;
}

Safetensors Safetensors::open(const std::filesystem::path& path) {
  Safetensors result(File::open(path));
  const std::string text = read_header(result.file_);
  const std::uint64_t data_begin = 8 + text.size(), data_bytes = result.file_.size() - data_begin;
  const Fields header = Fields::parse(text, result.path() + ": header", {.bytes = longest_header});
  for (const auto& name : header.names()) {
    if (name == "__metadata__") {
      const Fields metadata = header.object(name);
      for (const auto& key : metadata.names()) result.metadata_[key] = metadata.text(key);
    } else {
      result.tensors_.push_back(read_entry(header, name, result.source(name), data_bytes));
    }
  }
  result.place_tensors(data_begin);
  return result;
}

// Orders the tensors by their data, whose ranges must follow each other from 0 to the end of the file.
void Safetensors::place_tensors(std::uint64_t data_begin) {
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  std::uint64_t end = data_begin;
  for (auto& tensor : tensors_) {
    tensor.offset += data_begin;
    if (tensor.offset != end) {
      fail(ErrorKind::checkpoint,
           source(tensor.name) + ": expected its data at offset " + std::to_string(end - data_begin) + ", found " +
               std::to_string(tensor.offset - data_begin) + ": tensors must neither overlap nor leave holes");
    }
    end += tensor.bytes;
    index_[tensor.name] = static_cast<std::size_t>(&tensor - tensors_.data());
  }
  if (end != file_.size()) {
    fail(ErrorKind::checkpoint, path() + ": expected " + std::to_string(end - data_begin) +
                                    " bytes of data, as its tensors have, found " +
                                    std::to_string(file_.size() - data_begin));
  }
}

const TensorInfo* Safetensors::find(std::string_view name) const {
  const auto place = index_.find(name);
  return place == index_.end() ? nullptr : &tensors_[place->second];
}

std::string Safetensors::source(std::string_view name) const { return path() + ": tensor " + in_quotes(name); }

void Safetensors::read(const TensorInfo& tensor, DType to, void* target) const {
  if (to == tensor.dtype) return file_.read(tensor.offset, target, tensor.bytes);
  const std::unique_ptr<std::byte[]> piece(new std::byte[std::min(piece_bytes, tensor.bytes)]);
  auto* place = static_cast<std::byte*>(target);
  for (std::uint64_t begin = 0; begin < tensor.bytes; begin += piece_bytes) {
    const std::uint64_t bytes = std::min(piece_bytes, tensor.bytes - begin), count = bytes / size_of(tensor.dtype);
    file_.read(tensor.offset + begin, piece.get(), bytes);
    convert(tensor.dtype, piece.get(), to, place, static_cast<std::int64_t>(count));
    place += count * size_of(to);
  }
}

Array Safetensors::read(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  if (tensor == nullptr) fail(ErrorKind::input, source(name) + ": there is none of that name");
  Array array(tensor->dtype, tensor->shape);
  read(*tensor, tensor->dtype, array.bytes.data());
  return array;
}

void Safetensors::read_bytes(const TensorInfo& tensor, std::uint64_t begin, void* target, std::size_t bytes) const {
  check(begin <= tensor.bytes && bytes <= tensor.bytes - begin, "Safetensors::read_bytes: within the tensor");
  file_.read(tensor.offset + begin, target, bytes);
}

}  // namespace nervus
