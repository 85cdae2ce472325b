// What a tokenizer is made of: the pattern that cuts text into words, the merges within a word, and the files of both.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/json.h"

namespace nervus {

// A regular expression. Splitting is const and may be done by many threads at once.
class SplitPattern {
 public:
  // `source` names the pattern's file and field in errors. Throws Error(checkpoint) if it does not compile.
  SplitPattern(std::string_view expression, std::string source);

  // Every match of the pattern and every stretch between matches, in order: together the whole text. Views into the
  // text, which is valid UTF-8. Throws Error(checkpoint) if the pattern needs too many steps for this text.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  std::shared_ptr<const void> code_;
  std::string source_;
};

// Byte pair encoding on token ids.
class BytePairs {
 public:
  void set_byte(std::size_t byte, std::int32_t token) { bytes_[byte] = token; }
  void reserve(std::size_t merges) { merges_.reserve(merges); }
  // Tokens `left` and `right` side by side become `merged`, but not before any merge that was added earlier. False,
  // and nothing changes, if they have a merge already.
  bool add_merge(std::int32_t left, std::int32_t right, std::int32_t merged);

  // Appends the tokens of one word: those of its bytes, the neighbours with the earliest merge merged (the leftmost of
  // equals) until none are left. O(n log n) in the bytes of the word.
  void encode(std::string_view word, std::vector<std::int32_t>& tokens) const;

 private:
  struct Merge {
    std::int32_t rank;
    std::int32_t merged;
  };

  std::array<std::int32_t, 256> bytes_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
};

// A token that is taken out of the text before anything else is done to it.
struct AddedToken {
  std::string text;
  std::int32_t id;
};

// A tokenizer's files, checked.
struct TokenizerParts {
  SplitPattern pattern;
  bool nfc = true;  // normalise first
  BytePairs pairs{};
  std::deque<AddedToken> added{};    // longest first
  std::int64_t vocabulary_size = 0;  // one more than the largest id
};

// Both throw Error(checkpoint) that names file and field, read_tokenizer also Error(io).
TokenizerParts read_tokenizer(const std::filesystem::path& directory);
TokenizerParts parse_tokenizer(const Fields& json);

}  // namespace nervus
