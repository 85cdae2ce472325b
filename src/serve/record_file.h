// A recording: 16 bytes that name the format, then frames, each one map of msgpack behind a header of 12 bytes,
//
//   u32 length of the map | u32 CRC-32 of the map | u32 CRC-32 of these 8 bytes | the map
//
// in little-endian order. The first frame says how the requests are read and answered (settings, as JSON), each further
// one is a request with its answer. Frames are only ever appended: of a process that is killed, all but the last are
// whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/file.h"
#include "nervus/array.h"
#include "nervus/record.h"

namespace nervus::serve {

// A request and its answer. Of one that was read, the views lie in `bytes`.
struct Record {
  std::uint64_t session = 0, ticket = 0;
  std::int64_t arrived_us = 0;  // since 1970, UTC
  double answered_ms = 0;       // behind the arrival
  double infer_ms = 0;          // of them, in the policy
  std::string_view dialect;     // "openpi"
  std::uint64_t seed = 0;       // that was used
  std::uint64_t steps = 0;      // likewise
  std::string_view outcome;     // "ok", or a refusal's code
  std::string_view message;     // of a refusal
  std::string_view request;     // the message as it came
  Shape shape;                  // of the actions
  std::string_view actions;     // f32, as replied
  std::string_view digest;      // digest_of them

  std::shared_ptr<const std::string> bytes;
};

// 16 hexadecimal digits: FNV-1a of shape and values.
std::string digest_of(const Shape& shape, std::string_view actions);

// Frames: of any map, of a record's, of the settings'.
std::string frame_of(std::string_view map);
std::string encode(const Record& record);
std::string encode_settings(const std::string& settings);

// Appends to a file of its own, which must not be there yet.
class RecordFile {
 public:
  // Throws Error(io).
  RecordFile(const std::filesystem::path& path, const std::string& settings);
  ~RecordFile();
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;

  std::uint64_t size() const { return size_; }
  // Whole, or not at all: then throws Error(io), and the file ends where it ended before.
  void append(std::string_view frame);
  // Returns once the disk has it.
  void sync();

 private:
  const std::string path_;
  const int descriptor_;
  std::uint64_t size_ = 0;
};

class RecordReader {
 public:
  // Throws Error(input) if it is no recording, Error(io) if it cannot be read.
  explicit RecordReader(const std::filesystem::path& path);

  const std::string& settings() const { return settings_; }
  // The next one; empty at the end. Throws Error(input) for a frame that is whole but holds no record.
  std::optional<Record> next();
  // How the file ends, once next() was empty.
  const RecordEnd& end() const { return end_; }

 private:
  std::optional<std::string> frame();
  std::optional<std::string> stop(bool damaged, const std::string& why);

  File file_;
  std::uint64_t at_ = 0;
  std::string settings_;
  RecordEnd end_;
};

}  // namespace nervus::serve
