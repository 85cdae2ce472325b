#include "preprocess/tokenizer.h"

#include <algorithm>
#include <utility>

#include "core/message.h"
#include "preprocess/tokenizer_parts.h"
#include "preprocess/unicode.h"

namespace nervus {
namespace {

void require_utf8(std::string_view text, const char* what) {
  const auto offset = find_invalid_utf8(text);
  if (offset == std::string_view::npos) return;
  const std::string found = hexadecimal(static_cast<unsigned char>(text[offset]), 2);
  fail(ErrorKind::input, what, ": expected UTF-8, found 0x", found, " at byte ", offset);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerParts parts) : parts_(std::make_shared<const TokenizerParts>(std::move(parts))) {}

Tokenizer Tokenizer::load(const std::filesystem::path& directory) { return Tokenizer(read_tokenizer(directory)); }

Tokenizer Tokenizer::parse(std::string_view json, const std::string& file) {
  return Tokenizer(parse_tokenizer(Fields::parse(json, file)));
}

std::size_t Tokenizer::vocabulary_size() const { return static_cast<std::size_t>(parts_->vocabulary_size); }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  require_utf8(text, "text");
  std::vector<std::int32_t> tokens;
  std::size_t start = 0;  // of the stretch since the last added token
  const auto encode_until = [&](std::size_t end) {
    const std::string_view plain = text.substr(start, end - start);
    const std::string normal = parts_->nfc ? to_nfc(plain) : std::string(plain);
    for (const std::string_view word : parts_->pattern.split(normal)) parts_->pairs.encode(word, tokens);
  };
  for (std::size_t offset = 0; offset < text.size();) {
    const auto begins = [rest = text.substr(offset)](const AddedToken& token) { return rest.starts_with(token.text); };
    const auto added = std::ranges::find_if(parts_->added, begins);
    if (added == parts_->added.end()) {
      ++offset;
      continue;
    }
    encode_until(offset);
    tokens.push_back(added->id);
    offset += added->text.size();
    start = offset;
  }
  encode_until(text.size());
  return tokens;
}

Prompt encode_prompt(const Tokenizer& tokenizer, std::string_view instruction, std::int64_t max_length) {
  check(max_length > 0, "a prompt has room for a token");
  if (instruction.size() > max_prompt_bytes) {
    fail(ErrorKind::input, "prompt: expected at most ", max_prompt_bytes, " bytes, found ", instruction.size(),
         "; cut it before byte ", max_prompt_bytes);
  }
  require_utf8(instruction, "prompt");
  if (const auto offset = instruction.find('\0'); offset != std::string_view::npos) {
    fail(ErrorKind::input, "prompt: expected text, found NUL at byte ", offset);
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
