// Bytes that begin with '{' are a tokenizer.json, which either loads and encodes or is an Error; others are a text,
// which is an Error unless it is UTF-8, and whose tokens, one a byte, are its normal form.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "nervus/error.h"
#include "preprocess/tokenizer.h"

namespace {

nervus::Tokenizer byte_tokenizer() {
  std::string directory = (std::filesystem::temp_directory_path() / "nervus-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) std::abort();
  nervus::write_byte_tokenizer(directory, 256);
  auto tokenizer = nervus::Tokenizer::load(directory);
  std::filesystem::remove_all(directory);
  return tokenizer;
}

void load(std::string_view bytes) {
  const auto tokenizer = nervus::Tokenizer::parse(bytes, "tokenizer.json");
  const auto tokens =
      tokenizer.encode("pick up the box\n\n  It's e\u0301\u00e9 \u628a\u7ea2 123<|endoftext|> \U0001f44d");
  for (const auto token : tokens) {
    if (token < 0 || static_cast<std::size_t>(token) >= tokenizer.vocabulary_size()) std::abort();
  }
}

void encode(std::string_view text) {
  static const nervus::Tokenizer tokenizer = byte_tokenizer();
  const auto tokens = tokenizer.encode(text);
  const std::string normal(tokens.begin(), tokens.end());
  if (tokenizer.encode(normal) != tokens) std::abort();
  const nervus::Prompt prompt = nervus::encode_prompt(tokenizer, text, 72);
  if (prompt.tokens.size() != 72 || prompt.valid.size() != 72) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    if (bytes.starts_with('{')) load(bytes);
    else encode(bytes);
  } catch (const nervus::Error& error) {
    if (error.kind() == nervus::ErrorKind::internal) std::abort();
  }
  return 0;
}
