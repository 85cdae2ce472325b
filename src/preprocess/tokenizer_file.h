// Tokenizer files, checked: tokenizer.json as the `tokenizers` package writes it, or vocab.json and merges.txt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>

#include "checkpoint/json.h"
#include "preprocess/tokenizer_bpe.h"

namespace nervus {

struct TokenizerFile {
  BytePairs pairs;
  std::unordered_map<std::string, std::int32_t> added;  // taken out of the text before anything else is done to it
  std::string pattern;                                  // cuts text into words
  std::string pattern_source;                           // "tokenizer.json: field '...'"
  bool nfc = true;                                      // normalise first
  std::int64_t vocabulary_size = 0;                     // one more than the largest id
};

// Both throw Error(checkpoint) that names file and field, read_tokenizer also Error(io).
TokenizerFile read_tokenizer(const std::filesystem::path& directory);
TokenizerFile parse_tokenizer(const Fields& json);

}  // namespace nervus
