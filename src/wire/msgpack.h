// msgpack from the network and to it. The reader makes no copy of strings and binaries and allocates nothing that the
// bytes at hand do not account for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nervus::wire {

struct MsgpackLimits {
  int depth = 16;              // arrays and maps inside each other
  std::size_t map = 1024;      // entries
  std::size_t array = 4096;    // elements
  std::size_t text = 65536;    // bytes of a string, and of a key
  std::size_t nodes = 100000;  // values and keys of a message
};

enum class MsgpackKind : std::uint8_t { nil, boolean, integer, natural, real, text, binary, array, map };

// "a string", "an array", ...
const char* name_of(MsgpackKind kind) noexcept;

// A message as a list of nodes in the order of the wire: a container's elements follow it, a map's as key and value.
class MsgpackDocument {
 public:
  struct Node {
    MsgpackKind kind = MsgpackKind::nil;
    std::uint32_t end = 0;   // the node behind this one and all inside it
    std::uint32_t size = 0;  // elements of an array, entries of a map
    union {
      bool boolean;
      std::int64_t integer;   // that fits
      std::uint64_t natural;  // beyond std::int64_t
      double real;
    };
    std::string_view bytes;  // of a text or binary, in the message

    Node() : integer(0) {}
  };

  // One value and nothing behind it. The message must outlive the document. Throws Error(input) that names the byte.
  static MsgpackDocument read(std::string_view message, const MsgpackLimits& limits = {});

  const std::vector<Node>& nodes() const { return nodes_; }
  class MsgpackValue root() const;

 private:
  std::vector<Node> nodes_;
};

// A value of a document, which must outlive it.
class MsgpackValue {
 public:
  MsgpackValue(const MsgpackDocument& document, std::uint32_t index) : document_(&document), index_(index) {}

  MsgpackKind kind() const { return node().kind; }
  std::size_t size() const { return node().size; }
  // Empty where the value is of another kind; a number is an integer, a natural or a real.
  std::optional<bool> boolean() const;
  std::optional<double> number() const;
  std::optional<std::uint64_t> natural() const;
  std::optional<std::string_view> text() const;    // a string
  std::optional<std::string_view> binary() const;  // a binary
  std::optional<std::string_view> bytes() const;   // either of both
  // Of a map; strings and binaries are the same as keys.
  std::optional<MsgpackValue> find(std::string_view key) const;
  // The elements of an array.
  std::vector<MsgpackValue> elements() const;
  // The entries of a map.
  std::vector<std::pair<std::string_view, MsgpackValue>> entries() const;

 private:
  const MsgpackDocument::Node& node() const { return document_->nodes()[index_]; }

  const MsgpackDocument* document_;
  std::uint32_t index_;
};

// Builds a message; whoever writes a map or an array writes as many entries (key, value) or elements behind it.
class MsgpackWriter {
 public:
  MsgpackWriter& nil();
  MsgpackWriter& boolean(bool value);
  MsgpackWriter& integer(std::int64_t value);
  MsgpackWriter& natural(std::uint64_t value);
  MsgpackWriter& real(double value);
  MsgpackWriter& text(std::string_view value);
  MsgpackWriter& binary(std::string_view value);
  MsgpackWriter& array(std::size_t size);
  MsgpackWriter& map(std::size_t size);

  std::string take() { return std::move(message_); }

 private:
  void byte(unsigned value) { message_.push_back(static_cast<char>(value)); }
  void big_endian(std::uint64_t value, int bytes);
  void length(std::size_t size, unsigned code8, unsigned code16, unsigned code32);

  std::string message_;
};

// Whether these bytes are UTF-8: no overlong forms, surrogates, or code points beyond U+10FFFF.
bool is_utf8(std::string_view text) noexcept;

}  // namespace nervus::wire
