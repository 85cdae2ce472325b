// Words of a peer that nobody vouches for, as text that every log and language can take.
#pragma once

#include <string>
#include <string_view>

#include "core/message.h"
#include "wire/msgpack.h"

namespace nervus::client {

// The text with bytes that are not UTF-8, and control characters, as "\xe9".
inline std::string readable(std::string_view text) {
  std::string words;
  while (!text.empty()) {
    std::size_t length = 1;
    while (length < 4 && length < text.size() && !wire::is_utf8(text.substr(0, length))) ++length;
    const bool broken = !wire::is_utf8(text.substr(0, length));
    if (broken) length = 1;
    const auto lead = static_cast<unsigned char>(text[0]);
    const bool control = lead < 0x20 || lead == 0x7f || (lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (!broken && !control) words += text.substr(0, length);
    else
      for (const char byte : text.substr(0, length)) words += "\\x" + hexadecimal(static_cast<unsigned char>(byte), 2);
    text.remove_prefix(length);
  }
  return words;
}

}  // namespace nervus::client
