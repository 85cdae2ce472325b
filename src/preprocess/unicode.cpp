#include "preprocess/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include "core/check.h"

namespace nervus {
namespace {

// Sets of characters, each a sorted list of bounds: [first, behind the last) of every range.

// Where Unicode 10 and later have characters that compose or have a combining class, and Unicode 9 has none.
constexpr std::array<std::int32_t, 54> unknown_to_nfc = {
    0x7fd,   0x7fe,   0x897,   0x8a0,   0x8ca,   0x8d4,   0x9fe,   0x9ff,   0xc3c,   0xc3d,   0xd3b,
    0xd3d,   0xeba,   0xebb,   0x1715,  0x1716,  0x1abf,  0x1b00,  0x1df6,  0x1dfb,  0xa82c,  0xa82d,
    0x105c0, 0x10600, 0x10d00, 0x10d90, 0x10e80, 0x10fe0, 0x11070, 0x11071, 0x1133b, 0x1133c, 0x11380,
    0x11400, 0x1145e, 0x1145f, 0x11800, 0x11850, 0x11900, 0x11ab0, 0x11d00, 0x11db0, 0x11f00, 0x11f60,
    0x16100, 0x16140, 0x16d40, 0x16d80, 0x16ff0, 0x16ff2, 0x1e030, 0x1e600, 0x1e6e0, 0x1e700};

// Letters of Unicode 15 to 16.
constexpr std::array<std::int32_t, 70> later_letters = {
    0x1c89,  0x1c8b,  0xa7cb,  0xa7ce,  0xa7da,  0xa7dd,  0x105c0, 0x105f4, 0x10d4a, 0x10d66, 0x10d6f, 0x10d86,
    0x10ec2, 0x10ec5, 0x1123f, 0x11241, 0x11380, 0x1138a, 0x1138b, 0x1138c, 0x1138e, 0x1138f, 0x11390, 0x113b6,
    0x113b7, 0x113b8, 0x113d1, 0x113d2, 0x113d3, 0x113d4, 0x11bc0, 0x11be1, 0x11f02, 0x11f03, 0x11f04, 0x11f11,
    0x11f12, 0x11f34, 0x1342f, 0x13430, 0x13441, 0x13447, 0x13460, 0x143fb, 0x16100, 0x1611e, 0x16d40, 0x16d6d,
    0x18cff, 0x18d00, 0x1b132, 0x1b133, 0x1b155, 0x1b156, 0x1df25, 0x1df2b, 0x1e030, 0x1e06e, 0x1e4d0, 0x1e4ec,
    0x1e5d0, 0x1e5ee, 0x1e5f0, 0x1e5f1, 0x2b739, 0x2b73a, 0x2ebf0, 0x2ee5e, 0x31350, 0x323b0};

// Numbers of Unicode 15 to 16.
constexpr std::array<std::int32_t, 20> later_numbers = {0x10d40, 0x10d4a, 0x116d0, 0x116e4, 0x11bf0, 0x11bfa, 0x11f50,
                                                        0x11f5a, 0x16130, 0x1613a, 0x16d70, 0x16d7a, 0x1ccf0, 0x1ccfa,
                                                        0x1d2c0, 0x1d2d4, 0x1e4f0, 0x1e4fa, 0x1e5f1, 0x1e5fb};

bool contains(std::span<const std::int32_t> bounds, std::int32_t point) {
  return (std::ranges::upper_bound(bounds, point) - bounds.begin()) % 2 == 1;
}

// The code point at `offset`, which is moved behind it; negative if the bytes there are not UTF-8.
std::int32_t next(std::string_view text, std::size_t& offset) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset;
  std::int32_t point = -1;
  const auto length = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - offset), &point);
  if (length > 0) offset += static_cast<std::size_t>(length);
  return point;
}

void append_composed(std::string_view text, std::string& out) {
  if (text.empty()) return;
  utf8proc_uint8_t* composed = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  if (length == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  check(length >= 0, "text to normalise is UTF-8");
  out.append(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(length));
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t offset = 0; offset < text.size();) {
    if (next(text, offset) < 0) return offset;
  }
  return std::string_view::npos;
}

std::string to_nfc(std::string_view text) {
  std::string out;
  std::size_t start = 0;  // of the stretch that is not in `out` yet
  for (std::size_t offset = 0; offset < text.size();) {
    const std::size_t here = offset;
    if (!contains(unknown_to_nfc, next(text, offset))) continue;
    append_composed(text.substr(start, here - start), out);
    out.append(text.substr(here, offset - here));
    start = offset;
  }
  append_composed(text.substr(start), out);
  return out;
}

std::string with_known_categories(std::string_view text) {
  std::string out(text);
  for (std::size_t offset = 0; offset < text.size();) {
    const std::size_t here = offset;
    const std::int32_t point = next(text, offset);
    const std::size_t length = offset - here;
    if (point == 0x180e) out.replace(here, length, "\u200b");
    else if (contains(later_letters, point)) out.replace(here, length, length == 3 ? "\u4e00" : "\U00020000");
    else if (contains(later_numbers, point)) out.replace(here, length, "\U0001d7ce");
  }
  return out;
}

}  // namespace nervus
