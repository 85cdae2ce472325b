// The Qwen2.5 tokenizer: byte-level byte pair encoding (Sennrich et al. 2016), NFC before it, equal to what the
// `tokenizers` package does with the same files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nervus {

struct TokenizerParts;

// Encoding is const and may be done by many threads at once. Copies share what was loaded.
class Tokenizer {
 public:
  // tokenizer.json, or vocab.json and merges.txt (with the added tokens of tokenizer_config.json, if it is there).
  // Throws Error(checkpoint) that names file and field, Error(io) if there are no such files.
  static Tokenizer load(const std::filesystem::path& directory);
  // The same of the bytes of a tokenizer.json; `file` is named in errors.
  static Tokenizer parse(std::string_view json, const std::string& file);

  // Token ids of UTF-8 text, none added before or behind. Throws Error(input) if it is not UTF-8.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // One more than the largest id: the rows that an embedding table needs.
  std::size_t vocabulary_size() const;

 private:
  explicit Tokenizer(TokenizerParts parts);
  std::shared_ptr<const TokenizerParts> parts_;
};

// Right padding of a prompt: Qwen2.5's <|endoftext|>. Padding is never looked up, so a smaller table does not mind.
inline constexpr std::int32_t padding_token = 151643;
// Bytes of an instruction.
inline constexpr std::size_t max_prompt_bytes = 4096;

struct Prompt {
  std::vector<std::int32_t> tokens;  // [max_length]
  std::vector<std::uint8_t> valid;   // [max_length], 1 for a token of the text and 0 for padding
};

// `prepare_language` of the public implementation: "<bos>" in front and a newline behind unless already there, the
// first max_length tokens kept, padded on the right. Throws Error(input), with the byte's number, if the instruction
// is not UTF-8, contains NUL or is longer than max_prompt_bytes.
Prompt encode_prompt(const Tokenizer& tokenizer, std::string_view instruction, std::int64_t max_length);

// Writes a tokenizer.json whose ids are below `vocabulary_size` (at least 256): id b is byte b, then <|endoftext|> and
// a few merges as far as there is room. For synthetic checkpoints. Throws Error(io).
void write_byte_tokenizer(const std::filesystem::path& directory, std::int64_t vocabulary_size);

}  // namespace nervus
