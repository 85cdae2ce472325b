// Unicode as the `tokenizers` package sees it: its normaliser knows the characters of Unicode 9, its regular
// expressions those of Unicode 16.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nervus {

// The offset of the first byte that is not part of valid UTF-8 (no surrogates, no overlong forms), npos if all is.
std::size_t find_invalid_utf8(std::string_view text);

// Normalization Form C of valid UTF-8, by Unicode 9: later characters neither compose nor reorder.
std::string to_nfc(std::string_view text);

// Valid UTF-8 with every character whose general category PCRE2 may not know (letters and numbers up to Unicode 16,
// and U+180E, which is no space) replaced by an older one of the same category and the same number of bytes: what to
// match a pattern against.
std::string with_known_categories(std::string_view text);

}  // namespace nervus
