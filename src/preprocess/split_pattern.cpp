#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>
#include <utility>

#include "core/message.h"
#include "preprocess/tokenizer_parts.h"
#include "preprocess/unicode.h"

namespace nervus {
namespace {

constexpr std::uint32_t match_steps = 1'000'000;     // backtracking steps for one match
constexpr std::uint32_t match_kibibytes = 16 << 10;  // memory for one match

std::string message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

SplitPattern::SplitPattern(std::string_view expression, std::string source) : source_(std::move(source)) {
  int error = 0;
  std::size_t offset = 0;
  pcre2_code* code = pcre2_compile(units(expression), expression.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (!code) {
    fail(ErrorKind::checkpoint, source_, ": expected a regular expression, found an error at byte ", offset, ": ",
         message(error));
  }
  code_ = std::shared_ptr<const void>(code, [code](const void*) { pcre2_code_free(code); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it cannot, matching interprets: the same matches
}

std::vector<std::string_view> SplitPattern::split(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::string subject = with_known_categories(text);
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code, nullptr), &pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), &pcre2_match_context_free);
  if (!data || !context) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), match_steps);
  pcre2_set_heap_limit(context.get(), match_kibibytes);
  const std::size_t* bounds = pcre2_get_ovector_pointer(data.get());

  std::vector<std::string_view> words;
  for (std::size_t start = 0, end = 0; start < text.size(); start = end) {
    const int found = pcre2_match(code, units(subject), subject.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                                  data.get(), context.get());
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
      fail(ErrorKind::checkpoint, source_,
           ": expected a regular expression that splits any text, found one that fails on ",
           plural(text.size(), "byte"), " of text: ", message(found));
    }
    const std::size_t first = found < 0 ? text.size() : bounds[0];
    end = found < 0 ? text.size() : bounds[1];
    if (first > start) words.push_back(text.substr(start, first - start));
    if (end > first) words.push_back(text.substr(first, end - first));
  }
  return words;
}

}  // namespace nervus
