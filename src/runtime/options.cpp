#include "nervus/options.h"

#include <algorithm>
#include <array>

#include "core/message.h"
#include "nervus/policy.h"

namespace nervus {

namespace {

// In the order of their enumerations.
constexpr std::array precisions = {"f32", "bf16", "f16", "fp8", "int8"};
constexpr std::array attentions = {"auto", "fast", "plain"};

template <typename Value, std::size_t N>
Value value_named(const char* what, const std::array<const char*, N>& words, const std::string& name) {
  const auto word = std::ranges::find(words, name);
  if (word != words.end()) return static_cast<Value>(word - words.begin());
  const std::vector<std::string> all(words.begin(), words.end() - 1);
  fail(ErrorKind::usage, what, ": expected ", joined(all), " or ", words.back(), ", found '", name, "'");
}

}  // namespace

Precision precision_from(const std::string& name) { return value_named<Precision>("precision", precisions, name); }

const char* name_of(Precision precision) noexcept { return precisions[static_cast<std::size_t>(precision)]; }

Attention attention_from(const std::string& name) { return value_named<Attention>("attention", attentions, name); }

const char* name_of(Attention attention) noexcept { return attentions[static_cast<std::size_t>(attention)]; }

const char* version() noexcept { return NERVUS_VERSION; }

}  // namespace nervus
