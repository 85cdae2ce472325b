#include "preprocess/tokenizer.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "preprocess/tokenizer_parts.h"
#include "preprocess/unicode.h"

namespace nervus {
namespace {

void require_utf8(std::string_view text, const std::string& what) {
  const auto offset = find_invalid_utf8(text);
  if (offset == std::string_view::npos) return;
  constexpr std::string_view digits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(text[offset]);
  fail(ErrorKind::input, what + ": expected UTF-8, found 0x" + digits[byte >> 4] + digits[byte & 15] + " at byte " +
                             std::to_string(offset));
}

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(TokenizerFile checked) : file(std::move(checked)), pattern(file.pattern, file.pattern_source) {}

  // Appends the tokens of text without added tokens.
  void encode(std::string_view text, std::vector<std::int32_t>& tokens) const {
    const std::string normal = file.nfc ? to_nfc(text) : std::string(text);
    for (const std::string_view word : pattern.split(normal)) file.pairs.encode(word, tokens);
  }

  TokenizerFile file;
  SplitPattern pattern;
};

Tokenizer Tokenizer::load(const std::filesystem::path& directory) {
  return Tokenizer(std::make_shared<const Parts>(read_tokenizer(directory)));
}

Tokenizer Tokenizer::parse(std::string_view json, const std::string& file) {
  return Tokenizer(std::make_shared<const Parts>(parse_tokenizer(Fields::parse(json, file))));
}

std::size_t Tokenizer::vocabulary_size() const { return static_cast<std::size_t>(parts_->file.vocabulary_size); }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  require_utf8(text, "text");
  std::vector<std::int32_t> tokens;
  std::size_t start = 0;  // of the stretch since the last added token
  for (std::size_t offset = 0; offset < text.size();) {
    const auto begins = [rest = text.substr(offset)](const AddedToken& token) { return rest.starts_with(token.text); };
    const auto added = std::ranges::find_if(parts_->file.added, begins);
    if (added == parts_->file.added.end()) {
      ++offset;
      continue;
    }
    parts_->encode(text.substr(start, offset - start), tokens);
    tokens.push_back(added->id);
    offset += added->text.size();
    start = offset;
  }
  parts_->encode(text.substr(start), tokens);
  return tokens;
}

Prompt encode_prompt(const Tokenizer& tokenizer, std::string_view instruction, std::int64_t max_length) {
  check(max_length > 0, "a prompt has room for a token");
  if (instruction.size() > max_prompt_bytes) {
    fail(ErrorKind::input, "prompt: expected at most " + std::to_string(max_prompt_bytes) + " bytes, found " +
                               std::to_string(instruction.size()) + "; cut it before byte " +
                               std::to_string(max_prompt_bytes));
  }
  require_utf8(instruction, "prompt");
  if (const auto offset = instruction.find('\0'); offset != std::string_view::npos) {
    fail(ErrorKind::input, "prompt: expected text, found NUL at byte " + std::to_string(offset));
  }

  std::string text(instruction);
  if (!text.starts_with("<bos>")) text.insert(0, "<bos>");
  if (!text.ends_with('\n')) text += '\n';
  Prompt prompt{tokenizer.encode(text), {}};
  prompt.tokens.resize(std::min(prompt.tokens.size(), static_cast<std::size_t>(max_length)));
  prompt.valid.assign(prompt.tokens.size(), 1);
  prompt.tokens.resize(static_cast<std::size_t>(max_length), padding_token);
  prompt.valid.resize(static_cast<std::size_t>(max_length), 0);
  return prompt;
}

}  // namespace nervus
