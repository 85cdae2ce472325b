#include "checkpoint/npy.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/file.h"
#include "checkpoint/json.h"
#include "checkpoint/layout.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::uint64_t longest_header = std::uint64_t{64} << 10;

// "<f4"; "" for what the format cannot name.
std::string format_descr(DType dtype) {
  if (dtype == DType::bf16 || dtype == DType::e4m3) return "";
  return std::string(size_of(dtype) == 1 ? "|" : "<") + name_of(dtype)[0] + std::to_string(size_of(dtype));
}

// The header is a literal of Python: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }. What an array needs
// of that language becomes JSON character by character, so that places in error messages stay right.
std::string to_json(std::string text) {
  constexpr std::string_view from = "'()TF", to = "\"[]tf";
  for (char& c : text) {
    if (const auto i = from.find(c); i != std::string_view::npos) c = to[i];
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') continue;
    const std::size_t next = text.find_first_not_of(' ', i + 1);
    if (next != std::string::npos && (text[next] == ']' || text[next] == '}')) text[i] = ' ';
  }
  return text;
}

// The header's text; `data_begin` becomes the offset of what follows it.
std::string read_header(const File& file, std::uint64_t& data_begin) {
  unsigned char start[12] = {};
  file.read(0, start, std::min<std::uint64_t>(sizeof(start), file.size()));
  if (std::memcmp(start, magic.data(), magic.size()) != 0) {
    fail(ErrorKind::input, file.path(), ": expected a .npy file, found another kind of file");
  }
  const int version = start[6];
  if (version < 1 || version > 3) {
    fail(ErrorKind::input, file.path(), ": expected version 1, 2 or 3 of .npy, found ", version);
  }
  std::uint64_t length = start[8] + 256u * start[9];
  if (version > 1) length += (std::uint64_t{start[10]} << 16) + (std::uint64_t{start[11]} << 24);
  data_begin = (version == 1 ? 10 : 12) + length;
  if (data_begin > file.size() || length > longest_header) {
    fail(ErrorKind::input, file.path(), ": its header claims ", length, " bytes, but the file has ", file.size());
  }
  return file.read(data_begin - length, length);
}

}  // namespace

Array read_npy(const std::filesystem::path& path) {
  const File file = File::open(path);
  std::uint64_t data_begin = 0;
  const std::string text = read_header(file, data_begin);
  return as_input([&] {
    const Fields header = Fields::parse(to_json(text), file.path() + ": header");
    const DType dtype = dtype_named(header.text("descr"), format_descr, file.path());
    const Shape shape = read_shape(header);
    const std::uint64_t found = file.size() - data_begin;
    if (checked_bytes(shape, dtype) != found) {
      fail(ErrorKind::input, file.path(), ": expected the data of ", to_string(shape), " ", name_of(dtype), ", found ",
           plural(found, "byte"));
    }
    Array array(dtype, shape);
    file.read(data_begin, array.bytes.data(), array.bytes.size());
    if (!header.boolean("fortran_order")) return array;
    return *gather(array.bytes, dtype, shape, contiguous_strides(shape, true), 0);
  });
}

void write_npy(const std::filesystem::path& path, const Array& array) {
  if (format_descr(array.dtype).empty()) {
    fail(ErrorKind::input, path.string(), ": a .npy file cannot hold ", name_of(array.dtype),
         ": write f32, or a .safetensors file");
  }
  std::string extents = to_string(array.shape);  // "[2, 3]"
  extents = extents.substr(1, extents.size() - 2) + (array.shape.size() == 1 ? "," : "");
  std::string header =
      concat("{'descr': '", format_descr(array.dtype), "', 'fortran_order': False, 'shape': (", extents, "), }");
  header.append(63 - (10 + header.size()) % 64, ' ') += '\n';  // the data begin at a multiple of 64 bytes
  const auto length = static_cast<std::uint16_t>(header.size());
  header.insert(0, concat(magic, '\1', '\0', static_cast<char>(length & 255), static_cast<char>(length >> 8)));
  OutputFile file(path);
  file.write(header.data(), header.size());
  file.write(array.bytes.data(), array.bytes.size());
  file.finish();
}

}  // namespace nervus
