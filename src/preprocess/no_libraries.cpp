// Linked where NERVUS_ENGINE_ONLY leaves out the libraries of image files and of text.
#include "core/message.h"
#include "preprocess/image_file.h"
#include "preprocess/tokenizer_parts.h"
#include "preprocess/unicode.h"

namespace nervus {
namespace {

[[noreturn]] void refuse(std::string_view what, std::string_view instead) {
  fail(ErrorKind::unsupported, what, ": this build was made without it (NERVUS_ENGINE_ONLY): ", instead,
       ", or rebuild without the option");
}

[[noreturn]] void refuse_text() { refuse("tokenizer", "give tokens (--inputs FILE)"); }

}  // namespace

Image decode_png(Bytes, std::string_view name) { refuse(concat(name, ": PNG decoder"), "give pixels as an array"); }
Image decode_jpeg(Bytes, std::string_view name) { refuse(concat(name, ": JPEG decoder"), "give pixels as an array"); }

SplitPattern::SplitPattern(std::string_view, std::string source) : source_(std::move(source)) {}
std::vector<std::string_view> SplitPattern::split(std::string_view) const { refuse_text(); }

std::size_t find_invalid_utf8(std::string_view) { refuse_text(); }
std::string to_nfc(std::string_view) { refuse_text(); }
std::string with_known_categories(std::string_view) { refuse_text(); }

}  // namespace nervus
