// Linked where NERVUS_ENGINE_ONLY leaves out the libraries of text.
#include "core/message.h"
#include "preprocess/tokenizer_parts.h"
#include "preprocess/unicode.h"

namespace nervus {

[[noreturn]] static void refuse() {
  fail(ErrorKind::unsupported, "tokenizer: this build was made without it (NERVUS_ENGINE_ONLY): give tokens ",
       "(--inputs FILE), or rebuild with NERVUS_TOKENIZER=ON");
}

SplitPattern::SplitPattern(std::string_view, std::string source) : source_(std::move(source)) {}
std::vector<std::string_view> SplitPattern::split(std::string_view) const { refuse(); }

std::size_t find_invalid_utf8(std::string_view) { refuse(); }
std::string to_nfc(std::string_view) { refuse(); }
std::string with_known_categories(std::string_view) { refuse(); }

}  // namespace nervus
