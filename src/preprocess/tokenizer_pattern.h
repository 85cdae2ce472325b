// The regular expression that cuts text into words before byte pairs are merged.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nervus {

// Splitting is const and may be done by many threads at once.
class SplitPattern {
 public:
  // `source` names the pattern's file and field in errors. Throws Error(checkpoint) if it does not compile.
  SplitPattern(std::string_view expression, std::string source);
  ~SplitPattern();
  SplitPattern(SplitPattern&& other) noexcept;

  // Every match of the pattern and every stretch between matches, in order: together the whole text. Views into the
  // text, which is valid UTF-8. Throws Error(checkpoint) if the pattern needs too many steps for this text.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Compiled;
  std::unique_ptr<const Compiled> compiled_;
  std::string source_;
};

}  // namespace nervus
