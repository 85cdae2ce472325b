#include "preprocess/tokenizer_parts.h"

#include <compare>
#include <functional>
#include <queue>

namespace nervus {
namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// Two neighbours that may merge; out of date once one of them has merged with another.
struct Candidate {
  std::int32_t rank;
  std::size_t position;  // of the left one
  std::int32_t left, right, merged;

  auto operator<=>(const Candidate&) const = default;
};

// One token of the word, at the place of its first byte.
struct Symbol {
  std::int32_t token;  // negative once merged into the one before
  std::size_t previous;
  std::size_t next;
};

}  // namespace

bool BytePairs::add_merge(std::int32_t left, std::int32_t right, std::int32_t merged) {
  return merges_.try_emplace(pair_key(left, right), static_cast<std::int32_t>(merges_.size()), merged).second;
}

void BytePairs::encode(std::string_view word, std::vector<std::int32_t>& tokens) const {
  const std::size_t end = word.size();
  std::vector<Symbol> symbols(end);
  for (std::size_t i = 0; i < end; ++i) symbols[i] = {bytes_[static_cast<unsigned char>(word[i])], i - 1, i + 1};

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::size_t position) {
    const Symbol& left = symbols[position];
    if (left.next >= end) return;
    const std::int32_t right = symbols[left.next].token;
    const auto merge = merges_.find(pair_key(left.token, right));
    if (merge == merges_.end()) return;
    queue.push({merge->second.rank, position, left.token, right, merge->second.merged});
  };
  for (std::size_t i = 0; i < end; ++i) consider(i);

  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.token != best.left || left.next >= end || symbols[left.next].token != best.right) continue;
    left.token = best.merged;
    symbols[left.next].token = -1;
    left.next = symbols[left.next].next;
    if (left.next < end) symbols[left.next].previous = best.position;
    if (best.position > 0) consider(left.previous);
    consider(best.position);
  }
  for (std::size_t i = 0; i < end; i = symbols[i].next) tokens.push_back(symbols[i].token);
}

}  // namespace nervus
