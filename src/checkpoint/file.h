// File: a regular file open for reading. Reads are positioned (pread), so one File serves many threads, and a file
// that is cut short meanwhile is an Error, not a signal as it would be with a mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace nervus {

class File {
 public:
  // Throws Error(io) if the path does not exist, cannot be read or is not a regular file.
  static File open(const std::filesystem::path& path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  // Bytes, when it was opened.
  std::uint64_t size() const { return size_; }
  // The path as the caller passed it: the beginning of every message about the file.
  const std::string& path() const { return path_; }
  // Reads exactly [offset, offset + bytes). Throws Error(io) if the file ends before, or cannot be read.
  void read(std::uint64_t offset, void* target, std::size_t bytes) const;

 private:
  File(int descriptor, std::uint64_t size, std::string path);

  int descriptor_;
  std::uint64_t size_;
  std::string path_;
};

// The whole of a file of at most `limit` bytes. Throws Error(checkpoint) if it is larger, Error(io) as File does.
std::string read_text(const std::filesystem::path& path, std::uint64_t limit);

// 'text' in single quotes for messages: cut after 120 bytes, control characters and quotes escaped.
std::string quoted(std::string_view text);

}  // namespace nervus
