// File: a regular file open for reading. Reads are positioned (pread), so one File serves many threads, and a file
// that is cut short meanwhile is an Error, not a signal as it would be with a mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "nervus/error.h"

namespace nervus {

class File {
 public:
  // Throws Error(io) if the path does not exist, cannot be read or is not a regular file.
  static File open(const std::filesystem::path& path);
  // Bytes, when it was opened.
  std::uint64_t size() const { return size_; }
  // The path as the caller passed it: the beginning of every message about the file.
  const std::string& path() const { return path_; }
  // Reads exactly [offset, offset + bytes). Throws Error(io) if the file ends before, or cannot be read.
  void read(std::uint64_t offset, void* target, std::size_t bytes) const;
  std::string read(std::uint64_t offset, std::size_t bytes) const;

 private:
  std::shared_ptr<const int> descriptor_;  // copies share it; the last one closes it
  std::uint64_t size_ = 0;
  std::string path_;
};

// A file being written, under a temporary name beside its own until it is complete: if it is destroyed before finish,
// nothing is left, and a file that was there stays. Every method throws Error(io).
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();

  void write(const void* data, std::size_t bytes);
  // Gives the file its name, replacing one that was there.
  void finish();

 private:
  void require(bool done) const;

  std::string path_;
  std::string temporary_;
  std::ofstream stream_;
};

// Whether there is something of that name; what cannot be looked up is not there.
bool is_there(const std::filesystem::path& path);

// The whole of a file of at most `limit` bytes. Throws Error(checkpoint) if it is larger, Error(io) as File does.
std::string read_text(const std::filesystem::path& path, std::uint64_t limit);

// Writes a whole file or none. Throws Error(io).
void write_text(const std::filesystem::path& path, std::string_view text);

// 'text' in single quotes for messages: cut after 120 bytes, control characters and quotes escaped.
std::string in_quotes(std::string_view text);

// Runs `body` of a reader whose file is an input rather than part of a checkpoint: its Error(checkpoint) becomes
// Error(input).
template <typename Body>
auto as_input(Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw Error(error.kind() == ErrorKind::checkpoint ? ErrorKind::input : error.kind(), error.what());
  }
}

}  // namespace nervus
