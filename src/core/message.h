// Messages put together from parts: text as it is, numbers in decimal.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/check.h"

namespace nervus {

template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::string message;
  const auto add = [&message](const auto& part) {
    using Part = std::decay_t<decltype(part)>;
    if constexpr (std::is_arithmetic_v<Part> && !std::is_same_v<Part, char>) message += std::to_string(part);
    else message += part;
  };
  (add(parts), ...);
  return message;
}

// Throws Error(kind) with the parts as its message.
template <typename First, typename Second, typename... Parts>
[[noreturn]] void fail(ErrorKind kind, const First& first, const Second& second, const Parts&... parts) {
  fail(kind, concat(first, second, parts...));
}

// "cam_high, cam_left_wrist": the parts of a list, or what `part` makes of its elements.
template <typename List, typename Part = std::identity>
std::string joined(const List& list, Part&& part = {}) {
  std::string text;
  for (const auto& element : list) text += concat(text.empty() ? "" : ", ", std::invoke(part, element));
  return text;
}

// "0a": the lowest bits of a number, four a digit.
inline std::string hexadecimal(std::uint64_t value, int digits) {
  std::string text;
  while (digits-- > 0) text += "0123456789abcdef"[value >> 4 * digits & 15];
  return text;
}

// The text as far as `bytes`, less what that would leave of a UTF-8 character, and "..." if anything is left out.
inline std::string shortened(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return std::string(text.substr(0, bytes)) + "...";
}

}  // namespace nervus
