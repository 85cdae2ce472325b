// What the tests of this room share: a directory that vanishes, files from bytes, messages of errors.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "nervus/error.h"

namespace nervus::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "nervus-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = pattern;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// A safetensors file: length, header, data.
inline std::string safetensors(const std::string& header, const std::string& data = "") {
  return bytes_of(std::uint64_t{header.size()}) + header + data;
}

// Kind and message of the Error that `body` throws, without the directory before names of files in it; "no error" if it
// throws none.
template <typename Body>
std::pair<ErrorKind, std::string> error_of(Body&& body, const std::filesystem::path& directory = {}) {
  try {
    body();
  } catch (const Error& error) {
    std::string message = error.what();
    for (const std::string& name : {directory.string() + "/", directory.string()}) {
      for (std::size_t at = 0; name.size() > 1 && (at = message.find(name, at)) != std::string::npos;) {
        message.replace(at, name.size(), name.ends_with('/') ? "" : "DIRECTORY");
      }
    }
    return {error.kind(), message};
  }
  return {ErrorKind::internal, "no error"};
}

}  // namespace nervus::test
