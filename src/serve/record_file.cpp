#include "serve/record_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cerrno>
#include <cstring>

#include "core/message.h"
#include "wire/msgpack.h"

namespace nervus::serve {
namespace {

using namespace wire;

constexpr std::string_view magic = "nervus-record 1\n";
constexpr std::size_t header_bytes = 12;

std::uint32_t checksum(std::string_view bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

void put(std::string& out, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> 8 * i & 255));
}

std::uint32_t get(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// The fields of a frame; errors name where it begins.
class FrameFields {
 public:
  FrameFields(const MsgpackValue& map, const std::string& place) : map_(map), place_(place) {}

  MsgpackValue at(const char* name) const {
    const auto value = map_.find(name);
    if (!value) fail(ErrorKind::input, place_, ": field '", name, "': expected one, found none");
    return *value;
  }
  template <typename Value>
  Value expected(const char* name, const char* what, const std::optional<Value>& value) const {
    if (!value)
      fail(ErrorKind::input, place_, ": field '", name, "': expected ", what, ", found ", name_of(at(name).kind()));
    return *value;
  }
  std::uint64_t natural(const char* name) const { return expected(name, "an integer from 0", at(name).natural()); }
  double number(const char* name) const { return expected(name, "a number", at(name).number()); }
  std::string_view text(const char* name) const { return expected(name, "a string", at(name).text()); }
  std::string_view binary(const char* name) const { return expected(name, "a binary", at(name).binary()); }

  Shape shape(const char* name) const {
    Shape shape;
    for (const MsgpackValue& extent : at(name).elements()) {
      constexpr std::uint64_t most = std::uint64_t{1} << 32;
      if (extent.natural().value_or(most) >= most)
        fail(ErrorKind::input, place_, ": field '", name, "': expected integers from 0 below 2^32");
      shape.push_back(static_cast<std::int64_t>(*extent.natural()));
    }
    if (shape.size() != 2) fail(ErrorKind::input, place_, ": field '", name, "': expected two extents");
    return shape;
  }

 private:
  const MsgpackValue map_;
  const std::string& place_;
};

Record decode(std::string bytes, const std::string& place) {
  Record record;
  record.bytes = std::make_shared<const std::string>(std::move(bytes));
  const MsgpackDocument document = MsgpackDocument::read(*record.bytes);
  const FrameFields fields(document.root(), place);
  record.session = fields.natural("session");
  record.ticket = fields.natural("ticket");
  record.arrived_us = static_cast<std::int64_t>(fields.natural("arrived_us"));
  record.answered_ms = fields.number("answered_ms");
  record.infer_ms = fields.number("infer_ms");
  record.dialect = fields.text("dialect");
  record.seed = fields.natural("seed");
  record.steps = fields.natural("steps");
  record.outcome = fields.text("outcome");
  record.message = fields.binary("message");
  record.request = fields.binary("request");
  record.shape = fields.shape("shape");
  record.actions = fields.binary("actions");
  record.digest = fields.text("digest");
  if (static_cast<std::uint64_t>(element_count(record.shape)) != record.actions.size() / sizeof(float) ||
      record.actions.size() % sizeof(float) != 0)
    fail(ErrorKind::input, place, ": field 'actions': expected ", element_count(record.shape),
         " values of 4 bytes, found ", record.actions.size(), " bytes");
  if (record.digest != digest_of(record.shape, record.actions))
    fail(ErrorKind::input, place, ": field 'digest': expected that of the actions, ",
         digest_of(record.shape, record.actions));
  return record;
}

}  // namespace

std::string digest_of(const Shape& shape, std::string_view actions) {
  std::uint64_t state = 0xcbf29ce484222325u;
  const auto add = [&state](std::string_view bytes) {
    for (const char byte : bytes) state = (state ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  };
  add(to_string(shape));
  add(actions);
  return hexadecimal(state, 16);
}

std::string frame_of(std::string_view map) {
  check(map.size() <= 0xffffffff, "a record fits a frame");
  std::string frame;
  frame.reserve(header_bytes + map.size());
  put(frame, static_cast<std::uint32_t>(map.size()));
  put(frame, checksum(map));
  put(frame, checksum(frame));
  return frame += map;
}

std::string encode(const Record& record) {
  MsgpackWriter writer;
  writer.map(14).text("session").natural(record.session).text("ticket").natural(record.ticket);
  writer.text("arrived_us").integer(record.arrived_us).text("answered_ms").real(record.answered_ms);
  writer.text("infer_ms").real(record.infer_ms).text("dialect").text(record.dialect);
  writer.text("seed").natural(record.seed).text("steps").natural(record.steps);
  writer.text("outcome").text(record.outcome).text("message").binary(record.message);
  writer.text("request").binary(record.request).text("shape").array(record.shape.size());
  for (const std::int64_t extent : record.shape) writer.integer(extent);
  writer.text("actions").binary(record.actions).text("digest").text(digest_of(record.shape, record.actions));
  return frame_of(writer.take());
}

std::string encode_settings(const std::string& settings) {
  return frame_of(MsgpackWriter().map(1).text("settings").binary(settings).take());
}

RecordFile::RecordFile(const std::filesystem::path& path, const std::string& settings)
    : path_(path.string()),
      // Images and prompts are nobody else's affair.
      descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600)) {
  if (descriptor_ < 0)
    fail(ErrorKind::io, path_,
         ": cannot be recorded to: ", errno == EEXIST ? "it exists already: name another file" : std::strerror(errno));
  try {
    append(std::string(magic) + encode_settings(settings));
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

RecordFile::~RecordFile() { ::close(descriptor_); }

void RecordFile::append(std::string_view frame) {
  for (std::size_t at = 0; at < frame.size();) {
    const ssize_t written = ::write(descriptor_, frame.data() + at, frame.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const std::string why = written < 0 ? std::strerror(errno) : "nothing was written";
      // Where this fails too, a reader stops at the same place.
      const bool cut = ::ftruncate(descriptor_, static_cast<off_t>(size_)) == 0;
      fail(ErrorKind::io, path_, ": cannot be written: ", why, cut ? "" : "; its last record is cut short");
    }
    at += static_cast<std::size_t>(written);
  }
  size_ += frame.size();
}

void RecordFile::sync() {
  if (::fdatasync(descriptor_) != 0) fail(ErrorKind::io, path_, ": cannot be written: ", std::strerror(errno));
}

RecordReader::RecordReader(const std::filesystem::path& path) : file_(File::open(path)) {
  const std::string begin = file_.read(0, std::min<std::uint64_t>(file_.size(), magic.size()));
  if (begin != magic)
    fail(ErrorKind::input, file_.path(), ": expected a recording of 'nervus serve --record', found another file");
  at_ = magic.size();
  const std::string place = concat(file_.path(), ": byte ", at_);
  const std::optional<std::string> first = frame();
  if (!first)
    fail(ErrorKind::input, file_.path(), ": holds no whole record: ", end_.why.empty() ? "it is empty" : end_.why);
  const MsgpackDocument document = MsgpackDocument::read(*first);
  settings_ = FrameFields(document.root(), place).binary("settings");
}

std::optional<std::string> RecordReader::stop(bool damaged, const std::string& why) {
  end_ = {.usable_bytes = at_, .ignored_bytes = file_.size() - at_, .damaged = damaged, .why = why};
  return std::nullopt;
}

std::optional<std::string> RecordReader::frame() {
  const std::uint64_t left = file_.size() - at_;
  const auto torn = [&] { return stop(false, concat("byte ", at_, ": the last record is cut short")); };
  if (left == 0) return stop(false, "");
  if (left < header_bytes) return torn();
  const std::string header = file_.read(at_, header_bytes);
  const std::uint32_t length = get(header, 0);
  if (header.find_first_not_of('\0') == std::string::npos)
    return stop(false, concat("byte ", at_, ": zeros, as a machine leaves them that loses its power"));
  if (checksum(std::string_view(header).substr(0, 8)) != get(header, 8) || length == 0)
    return stop(true, concat("byte ", at_, ": a header's checksum is wrong"));
  if (length > left - header_bytes) return torn();
  std::string map = file_.read(at_ + header_bytes, length);
  if (checksum(map) != get(header, 4)) return stop(true, concat("byte ", at_, ": a record's checksum is wrong"));
  at_ += header_bytes + length;
  return map;
}

std::optional<Record> RecordReader::next() {
  const std::string place = concat(file_.path(), ": byte ", at_);
  std::optional<std::string> map = frame();
  if (!map) return std::nullopt;
  try {
    return decode(std::move(*map), place);
  } catch (const Error& error) {
    const std::string what = error.what();
    fail(error.kind(), what.starts_with(place) ? what : concat(place, ": ", what));
  }
}

}  // namespace nervus::serve
