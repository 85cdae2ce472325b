#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <nlohmann/json.hpp>
#include <tuple>

#include "checkpoint/json.h"
#include "checkpoint/layout.h"
#include "core/dtype.h"
#include "core/message.h"

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
    if (field == "dtype" || field == "shape" || field == "data_offsets") continue;
    fail(ErrorKind::checkpoint, source, ": expected only dtype, shape and data_offsets, found ", in_quotes(field));
  }
  const DType dtype = dtype_named(entry.text("dtype"), format_name, source);
  const Shape shape = read_shape(entry);
  const auto offsets = entry.integers("data_offsets", 0);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    entry.refuse("data_offsets", "two offsets, the begin and the end");
  }
  const auto begin = static_cast<std::uint64_t>(offsets[0]), end = static_cast<std::uint64_t>(offsets[1]);
  const auto bytes = checked_bytes(shape, dtype);
  if (bytes != end - begin) {
    const std::string counted = bytes ? plural(*bytes, "byte") : "more bytes than 64 bits can count";
    fail(ErrorKind::checkpoint, source, ": ", to_string(shape), " of ", name_of(dtype), " is ", counted,
         ", but data_offsets give it ", end - begin);
  }
  if (end > data_bytes) {
    fail(ErrorKind::checkpoint, source, ": its data end at byte ", end, ", but the file holds only ", data_bytes,
         " bytes of data: it was cut short, copy it again");
  }
  return {name, dtype, shape, begin, end - begin};
}

// The JSON text between the length and the data, padding and all.
std::string read_header(const File& file) {
  if (file.size() < 8) {
    fail(ErrorKind::checkpoint, file.path(), ": expected a safetensors file, found only ", plural(file.size(), "byte"));
  }
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t length = 0;
  file.read(0, &length, sizeof(length));
  const std::uint64_t longest = std::min(longest_header, file.size() - 8);
  if (length > longest) {
    fail(ErrorKind::checkpoint, file.path(), ": expected a header of at most ", longest, " bytes, found the length ",
         length,
         length > longest_header ? ": this is not a safetensors file" : ": the file was cut short, copy it again");
  }
  const std::string header = file.read(8, length);
  if (!header.starts_with('{')) fail(ErrorKind::checkpoint, file.path(), ": expected the header to begin with '{'");
  if (header[header.find_last_not_of(' ')] != '}') {
    fail(ErrorKind::checkpoint, file.path(), ": expected the header to end with '}' and spaces only");
  }
  return header;
}

}  // namespace

std::string format_name(DType dtype) {
  std::string name = name_of(dtype);
  for (char& c : name) c = static_cast<char>(std::toupper(c));
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
      for (const auto& key : metadata.names()) metadata.text(key);  // the format has texts alone
    } else {
      result.tensors_.push_back(read_entry(header, name, result.source(name), data_bytes));
    }
  }
  result.place_tensors(data_begin);
  return result;
}

// Orders the tensors by their data, whose ranges must follow each other from 0 to the end of the file.
void Safetensors::place_tensors(std::uint64_t data_begin) {
  std::ranges::sort(tensors_, {},
                    [](const TensorInfo& tensor) { return std::tie(tensor.offset, tensor.bytes, tensor.name); });
  std::uint64_t end = 0;
  for (auto& tensor : tensors_) {
    if (tensor.offset != end) {
      fail(ErrorKind::checkpoint, source(tensor.name), ": expected its data at offset ", end, ", found ", tensor.offset,
           ": tensors must neither overlap nor leave holes");
    }
    end += tensor.bytes;
    tensor.offset += data_begin;
    index_[tensor.name] = static_cast<std::size_t>(&tensor - tensors_.data());
  }
  if (const std::uint64_t found = file_.size() - data_begin; end != found) {
    fail(ErrorKind::checkpoint, path(), ": expected ", end, " bytes of data, as its tensors have, found ", found);
  }
}

const TensorInfo* Safetensors::find(std::string_view name) const {
  const auto place = index_.find(name);
  return place == index_.end() ? nullptr : &tensors_[place->second];
}

std::string Safetensors::source(std::string_view name) const { return concat(path(), ": tensor ", in_quotes(name)); }

void Safetensors::read(const TensorInfo& tensor, DType to, void* target) const {
  if (to == tensor.dtype) return file_.read(tensor.offset, target, tensor.bytes);
  std::vector<std::byte> piece(std::min(piece_bytes, tensor.bytes));
  auto* place = static_cast<std::byte*>(target);
  for (std::uint64_t begin = 0; begin < tensor.bytes; begin += piece_bytes) {
    const std::uint64_t bytes = std::min(piece_bytes, tensor.bytes - begin), count = bytes / size_of(tensor.dtype);
    file_.read(tensor.offset + begin, piece.data(), bytes);
    convert(tensor.dtype, piece.data(), to, place, static_cast<std::int64_t>(count));
    place += count * size_of(to);
  }
}

Array Safetensors::read(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  if (tensor == nullptr) fail(ErrorKind::input, source(name), ": there is none of that name");
  Array array(tensor->dtype, tensor->shape);
  read(*tensor, tensor->dtype, array.bytes.data());
  return array;
}

std::string Safetensors::read_bytes(const TensorInfo& tensor, std::uint64_t begin, std::size_t bytes) const {
  check(begin <= tensor.bytes && bytes <= tensor.bytes - begin, "Safetensors::read_bytes: within the tensor");
  return file_.read(tensor.offset + begin, bytes);
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorDeclaration>& tensors)
    : file_(path) {
  Json header = Json::object();
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

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Array>& arrays) {
  std::vector<TensorDeclaration> tensors;
  for (const auto& [name, array] : arrays) tensors.push_back({name, array.dtype, array.shape});
  // Large elements first: then each tensor is aligned to its own.
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto& a, const auto& b) { return size_of(a.dtype) > size_of(b.dtype); });
  SafetensorsWriter writer(path, tensors);
  for (const auto& tensor : tensors) {
    const Array& array = arrays.at(tensor.name);
    writer.append(array.bytes.data(), array.bytes.size());
  }
  writer.finish();
}

}  // namespace nervus
