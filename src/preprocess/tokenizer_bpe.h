// Byte pair encoding on token ids.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nervus {

// The merges, in order of rank: the one added earlier goes first.
class BytePairs {
 public:
  void set_byte(std::size_t byte, std::int32_t token) { bytes_[byte] = token; }
  void reserve(std::size_t merges) { merges_.reserve(merges); }
  // Tokens `left` and `right` side by side become `merged`. False, and nothing changes, if they have a merge already.
  bool add_merge(std::int32_t left, std::int32_t right, std::int32_t merged);

  // Appends the tokens of one word: those of its bytes, the neighbours with the lowest rank merged (the leftmost of
  // equals) until none are left. O(n log n) in the bytes of the word.
  void encode(std::string_view word, std::vector<std::int32_t>& tokens) const;

 private:
  struct Merge {
    std::int32_t rank;
    std::int32_t merged;
  };
  const Merge* find(std::int32_t left, std::int32_t right) const;

  std::array<std::int32_t, 256> bytes_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
};

}  // namespace nervus
