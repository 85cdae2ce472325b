// What the program says: results on standard output, as text or as one JSON document; notes and progress on standard
// error.
#pragma once

#include <array>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nervus/error.h"
#include "nervus/options.h"

namespace nervus::cli {

// Keys in the order in which they were added.
using Json = nlohmann::ordered_json;

enum class Style { plain, good, bad, faint, strong };

// Columns of text, the first aligned left, the others right unless they are named in `left`.
class Table {
 public:
  explicit Table(std::vector<std::string> headings, std::vector<std::size_t> left = {});
  // Cells beyond the headings are refused by an assertion of the standard library; fewer are padded.
  void add(std::vector<std::string> cells, Style style = Style::plain);
  bool empty() const { return rows_.empty(); }
  std::string text(bool colour) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    Style style = Style::plain;
  };
  std::vector<Row> rows_;
  std::vector<bool> left_;
};

// How one call of the program prints. Colours only on a terminal and without NO_COLOR in the environment.
struct Output {
  bool json = false;   // --json: `document` prints, `text` does not
  bool quiet = false;  // --quiet: no notes, no progress

  void text(const std::string& text) const;
  void table(const Table& table) const;
  void document(const Json& document) const;
  // A bar on a terminal; elsewhere a line every few seconds.
  ProgressFunction progress() const;
  std::string styled(Style style, const std::string& text) const;
  // The table, a last line in green or red, or the document.
  void verdict(const Table& table, const Json& document, bool good, const std::string& line) const;
  // One line of what went wrong, and the document; gives the exit code.
  int report(const Error& error) const;
};

// What snprintf makes of the values: at most 63 letters.
template <typename... Values>
std::string formatted(const char* form, Values... values) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), form, values...);
  return buffer.data();
}
// The number that the whole text is.
template <typename T>
std::optional<T> number_of(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}
// "attention: the fast kernels where they have the shape", further lines below it; nothing for an empty plan.
void print_plan(const std::string& what, const std::vector<std::string>& plan, const Output& output);

// "17.3", four significant digits.
std::string number(double value, int digits = 4);
// "8.4 GB", "4.2 B", "1.6 TFLOP": `value` with a decimal prefix before `unit`.
std::string scaled(double value, const std::string& unit);
// "12.3 ms", "4.56 s"
std::string duration(double milliseconds);
// "a, b and c"
std::string listed(const std::vector<std::string>& words, const std::string& last = "and");
// The shortest decimal form that reads back as the same float.
std::string shortest(float value);
// Without line breaks and control characters, so that it stays one line on a terminal.
std::string one_line(const std::string& text);

// ": did you mean 'run'?" with the candidate that `word` begins, or the nearest within a third of its letters; "" if
// none is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

// Writes a whole file or none. Throws Error(io).
void write_text(const std::filesystem::path& path, const std::string& text);
// Reads a file of at most `limit` bytes. Throws Error(io), or Error(input) if it is larger.
std::string read_text(const std::filesystem::path& path, std::uintmax_t limit);

}  // namespace nervus::cli
