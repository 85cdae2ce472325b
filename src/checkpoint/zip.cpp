#include "checkpoint/zip.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"

namespace nervus {
namespace {

constexpr std::uint64_t longest_directory = std::uint64_t{1} << 20;

// A part of the archive whose little-endian fields are read by offset.
class Record {
 public:
  Record(const File& file, std::uint64_t offset, std::uint64_t bytes) : file_(file) {
    if (offset > file.size() || bytes > file.size() - offset || bytes > longest_directory) refuse();
    bytes_.resize(bytes);
    file.read(offset, bytes_.data(), bytes);
  }

  template <typename T>
  T field(std::size_t offset) const {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, text(offset, sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view text(std::size_t offset, std::size_t bytes) const {
    if (offset > bytes_.size() || bytes > bytes_.size() - offset) refuse();
    return std::string_view(bytes_).substr(offset, bytes);
  }
  std::string_view all() const { return bytes_; }
  [[noreturn]] void refuse() const {
    fail(ErrorKind::input, file_.path() + ": the zip archive is damaged or was cut short: copy or save it again");
  }

 private:
  const File& file_;
  std::string bytes_;
};

// The central directory, found through the record at the archive's end. A ZIP64 copy of that record is not needed.
Record read_directory(const File& file) {
  const std::uint64_t tail_bytes = std::min<std::uint64_t>(file.size(), 22 + 65535);  // the record and its comment
  const Record tail(file, file.size() - tail_bytes, tail_bytes);
  const std::size_t end = tail.all().rfind("PK\5\6");
  if (end == std::string_view::npos) tail.refuse();
  return Record(file, tail.field<std::uint32_t>(end + 16), tail.field<std::uint32_t>(end + 12));
}

}  // namespace

std::map<std::string, ZipEntry> read_zip(const File& file) {
  std::map<std::string, ZipEntry> entries;
  const Record directory = read_directory(file);
  for (std::size_t at = 0; at < directory.all().size();) {
    if (directory.text(at, 4) != "PK\1\2") directory.refuse();
    const std::size_t name_bytes = directory.field<std::uint16_t>(at + 28);
    const std::string name(directory.text(at + 46, name_bytes));
    const bool encrypted = directory.field<std::uint16_t>(at + 8) & 1;
    if (encrypted || directory.field<std::uint16_t>(at + 10) != 0) {
      fail(ErrorKind::input, file.path() + ": the entry " + in_quotes(name) +
                                 " is compressed or encrypted: expected stored entries, as torch.save writes them");
    }
    const std::uint64_t bytes = directory.field<std::uint32_t>(at + 24),
                        local = directory.field<std::uint32_t>(at + 42);
    const Record header(file, local, 30);
    if (header.text(0, 4) != "PK\3\4") header.refuse();
    const std::uint64_t offset = local + 30 + header.field<std::uint16_t>(26) + header.field<std::uint16_t>(28);
    if (offset > file.size() || bytes > file.size() - offset) header.refuse();
    if (!entries.try_emplace(name, ZipEntry{offset, bytes}).second) header.refuse();
    at += 46 + name_bytes + directory.field<std::uint16_t>(at + 30) + directory.field<std::uint16_t>(at + 32);
  }
  return entries;
}

}  // namespace nervus
