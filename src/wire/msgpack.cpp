#include "wire/msgpack.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "core/message.h"

namespace nervus::wire {
namespace {

using Node = MsgpackDocument::Node;

class Reader {
 public:
  Reader(std::string_view message, const MsgpackLimits& limits, std::vector<Node>& nodes)
      : message_(message), limits_(limits), nodes_(nodes) {}

  void read() {
    value(0);
    if (at_ != message_.size()) refuse("the end of the message, found ", message_.size() - at_, " more bytes");
  }

 private:
  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... expected) const {
    fail(ErrorKind::input, "msgpack: byte ", at_, ": expected ", expected...);
  }

  std::size_t left() const { return message_.size() - at_; }

  std::uint64_t big_endian(int bytes) {
    if (left() < static_cast<std::size_t>(bytes)) refuse(plural(bytes, "byte"), " more, found ", left());
    std::uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | static_cast<unsigned char>(message_[at_++]);
    return value;
  }

  std::uint32_t add(MsgpackKind kind) {
    if (nodes_.size() >= limits_.nodes) refuse("at most ", limits_.nodes, " values");
    nodes_.emplace_back().kind = kind;
    return static_cast<std::uint32_t>(nodes_.size() - 1);
  }

  void integer(std::int64_t value) { nodes_[add(MsgpackKind::integer)].integer = value; }
  void natural(std::uint64_t value) {
    if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return integer(static_cast<std::int64_t>(value));
    nodes_[add(MsgpackKind::natural)].natural = value;
  }
  void real(double value) { nodes_[add(MsgpackKind::real)].real = value; }

  void bytes(MsgpackKind kind, std::size_t size) {
    if (kind == MsgpackKind::text && size > limits_.text)
      refuse("a string of at most ", limits_.text, " bytes, found ", size);
    if (size > left()) refuse(plural(static_cast<long long>(size), "byte"), " more, found ", left());
    const std::string_view value = message_.substr(at_, size);
    if (kind == MsgpackKind::text && !is_utf8(value)) refuse("a string of valid UTF-8");
    nodes_[add(kind)].bytes = value;
    at_ += size;
  }

  void enter(int depth) const {
    if (depth >= limits_.depth) refuse("arrays and maps at most ", limits_.depth, " deep inside each other");
  }

  void array(std::size_t size, int depth) {
    enter(depth);
    if (size > limits_.array) refuse("an array of at most ", limits_.array, " elements, found ", size);
    if (size > left()) refuse("an array that fits the ", left(), " bytes behind it, found ", size, " elements");
    const std::uint32_t node = add(MsgpackKind::array);
    nodes_[node].size = static_cast<std::uint32_t>(size);
    for (std::size_t i = 0; i < size; ++i) value(depth + 1);
    nodes_[node].end = static_cast<std::uint32_t>(nodes_.size());
  }

  void map(std::size_t size, int depth) {
    enter(depth);
    if (size > limits_.map) refuse("a map of at most ", limits_.map, " entries, found ", size);
    if (size > left() / 2) refuse("a map that fits the ", left(), " bytes behind it, found ", size, " entries");
    const std::uint32_t node = add(MsgpackKind::map);
    nodes_[node].size = static_cast<std::uint32_t>(size);
    std::vector<std::string_view> keys;
    keys.reserve(size);
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t key = nodes_.size();
      value(depth + 1);
      if (nodes_[key].kind != MsgpackKind::text && nodes_[key].kind != MsgpackKind::binary)
        refuse("a string or binary as the key before, found ", name_of(nodes_[key].kind));
      keys.push_back(nodes_[key].bytes);
      if (keys.back().size() > limits_.text) refuse("a key of at most ", limits_.text, " bytes before");
      value(depth + 1);
    }
    std::sort(keys.begin(), keys.end());
    if (std::adjacent_find(keys.begin(), keys.end()) != keys.end()) refuse("no key twice in the map before");
    nodes_[node].end = static_cast<std::uint32_t>(nodes_.size());
  }

  void value(int depth) {
    const std::uint32_t node = static_cast<std::uint32_t>(nodes_.size());
    const auto code = static_cast<unsigned>(big_endian(1));
    if (code <= 0x7f) integer(code);
    else if (code <= 0x8f) map(code & 15, depth);
    else if (code <= 0x9f) array(code & 15, depth);
    else if (code <= 0xbf) bytes(MsgpackKind::text, code & 31);
    else if (code >= 0xe0) integer(static_cast<std::int8_t>(code));
    else coded(code, depth);
    if (nodes_[node].kind < MsgpackKind::array) nodes_[node].end = node + 1;
  }

  // The codes 0xc0 to 0xdf.
  void coded(unsigned code, int depth) {
    switch (code) {
      case 0xc0: add(MsgpackKind::nil); break;
      case 0xc2:
      case 0xc3: nodes_[add(MsgpackKind::boolean)].boolean = code == 0xc3; break;
      case 0xc4: bytes(MsgpackKind::binary, big_endian(1)); break;
      case 0xc5: bytes(MsgpackKind::binary, big_endian(2)); break;
      case 0xc6: bytes(MsgpackKind::binary, big_endian(4)); break;
      case 0xca: real(std::bit_cast<float>(static_cast<std::uint32_t>(big_endian(4)))); break;
      case 0xcb: real(std::bit_cast<double>(big_endian(8))); break;
      case 0xcc: natural(big_endian(1)); break;
      case 0xcd: natural(big_endian(2)); break;
      case 0xce: natural(big_endian(4)); break;
      case 0xcf: natural(big_endian(8)); break;
      case 0xd0: integer(static_cast<std::int8_t>(big_endian(1))); break;
      case 0xd1: integer(static_cast<std::int16_t>(big_endian(2))); break;
      case 0xd2: integer(static_cast<std::int32_t>(big_endian(4))); break;
      case 0xd3: integer(static_cast<std::int64_t>(big_endian(8))); break;
      case 0xd9: bytes(MsgpackKind::text, big_endian(1)); break;
      case 0xda: bytes(MsgpackKind::text, big_endian(2)); break;
      case 0xdb: bytes(MsgpackKind::text, big_endian(4)); break;
      case 0xdc: array(big_endian(2), depth); break;
      case 0xdd: array(big_endian(4), depth); break;
      case 0xde: map(big_endian(2), depth); break;
      case 0xdf: map(big_endian(4), depth); break;
      default:
        --at_;
        refuse(code == 0xc1 ? "a value, found the code 0xc1, which is none"
                            : "no extension type, found the code 0x" + hexadecimal(code, 2));
    }
  }

  std::string_view message_;
  const MsgpackLimits& limits_;
  std::vector<Node>& nodes_;
  std::size_t at_ = 0;
};

}  // namespace

const char* name_of(MsgpackKind kind) noexcept {
  constexpr const char* names[] = {"nil",      "a boolean", "an integer", "an integer", "a number",
                                   "a string", "a binary",  "an array",   "a map"};
  return names[static_cast<std::size_t>(kind)];
}

MsgpackDocument MsgpackDocument::read(std::string_view message, const MsgpackLimits& limits) {
  MsgpackDocument document;
  Reader(message, limits, document.nodes_).read();
  return document;
}

MsgpackValue MsgpackDocument::root() const { return {*this, 0}; }

std::optional<bool> MsgpackValue::boolean() const {
  return kind() == MsgpackKind::boolean ? std::optional(node().boolean) : std::nullopt;
}

std::optional<double> MsgpackValue::number() const {
  if (kind() == MsgpackKind::integer) return static_cast<double>(node().integer);
  if (kind() == MsgpackKind::natural) return static_cast<double>(node().natural);
  return kind() == MsgpackKind::real ? std::optional(node().real) : std::nullopt;
}

std::optional<std::uint64_t> MsgpackValue::natural() const {
  if (kind() == MsgpackKind::integer && node().integer >= 0) return static_cast<std::uint64_t>(node().integer);
  return kind() == MsgpackKind::natural ? std::optional(node().natural) : std::nullopt;
}

std::optional<std::string_view> MsgpackValue::text() const {
  return kind() == MsgpackKind::text ? std::optional(node().bytes) : std::nullopt;
}

std::optional<std::string_view> MsgpackValue::binary() const {
  return kind() == MsgpackKind::binary ? std::optional(node().bytes) : std::nullopt;
}

std::optional<std::string_view> MsgpackValue::bytes() const { return text() ? text() : binary(); }

std::optional<MsgpackValue> MsgpackValue::find(std::string_view key) const {
  if (kind() != MsgpackKind::map) return std::nullopt;
  std::uint32_t at = index_ + 1;
  for (std::size_t i = 0; i < size(); ++i, at = document_->nodes()[at + 1].end)
    if (document_->nodes()[at].bytes == key) return MsgpackValue(*document_, at + 1);
  return std::nullopt;
}

std::vector<MsgpackValue> MsgpackValue::elements() const {
  std::vector<MsgpackValue> values;
  if (kind() != MsgpackKind::array) return values;
  for (std::uint32_t at = index_ + 1; at < node().end; at = document_->nodes()[at].end)
    values.emplace_back(*document_, at);
  return values;
}

std::vector<std::pair<std::string_view, MsgpackValue>> MsgpackValue::entries() const {
  std::vector<std::pair<std::string_view, MsgpackValue>> values;
  if (kind() != MsgpackKind::map) return values;
  for (std::uint32_t at = index_ + 1; at < node().end; at = document_->nodes()[at + 1].end)
    values.emplace_back(document_->nodes()[at].bytes, MsgpackValue(*document_, at + 1));
  return values;
}

void MsgpackWriter::big_endian(std::uint64_t value, int bytes) {
  while (bytes-- > 0) byte(value >> 8 * bytes & 255);
}

void MsgpackWriter::length(std::size_t size, unsigned code8, unsigned code16, unsigned code32) {
  if (code8 != 0 && size <= 0xff) {
    byte(code8);
    big_endian(size, 1);
  } else if (size <= 0xffff) {
    byte(code16);
    big_endian(size, 2);
  } else {
    check(size <= 0xffffffff, "a msgpack value has at most 2^32 - 1 bytes");
    byte(code32);
    big_endian(size, 4);
  }
}

MsgpackWriter& MsgpackWriter::nil() {
  byte(0xc0);
  return *this;
}

MsgpackWriter& MsgpackWriter::boolean(bool value) {
  byte(value ? 0xc3 : 0xc2);
  return *this;
}

MsgpackWriter& MsgpackWriter::integer(std::int64_t value) {
  if (value >= 0) return natural(static_cast<std::uint64_t>(value));
  byte(0xd3);
  big_endian(static_cast<std::uint64_t>(value), 8);
  return *this;
}

MsgpackWriter& MsgpackWriter::natural(std::uint64_t value) {
  if (value > 0x7f) byte(0xcf);
  big_endian(value, value > 0x7f ? 8 : 1);
  return *this;
}

MsgpackWriter& MsgpackWriter::real(double value) {
  byte(0xcb);
  big_endian(std::bit_cast<std::uint64_t>(value), 8);
  return *this;
}

MsgpackWriter& MsgpackWriter::text(std::string_view value) {
  if (value.size() < 32) byte(0xa0 | static_cast<unsigned>(value.size()));
  else length(value.size(), 0xd9, 0xda, 0xdb);
  message_ += value;
  return *this;
}

MsgpackWriter& MsgpackWriter::binary(std::string_view value) {
  length(value.size(), 0xc4, 0xc5, 0xc6);
  message_ += value;
  return *this;
}

MsgpackWriter& MsgpackWriter::array(std::size_t size) {
  if (size < 16) byte(0x90 | static_cast<unsigned>(size));
  else length(size, 0, 0xdc, 0xdd);
  return *this;
}

MsgpackWriter& MsgpackWriter::map(std::size_t size) {
  if (size < 16) byte(0x80 | static_cast<unsigned>(size));
  else length(size, 0, 0xde, 0xdf);
  return *this;
}

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xc2 ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    if (length == 0 || length > text.size() - i) return false;
    std::uint32_t point = length == 1 ? lead : lead & (0x7f >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    if ((length == 3 && point < 0x800) || (length == 4 && point < 0x10000)) return false;
    if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += length;
  }
  return true;
}

}  // namespace nervus::wire
