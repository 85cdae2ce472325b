#include "cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>
#include <utility>

#include "cli/interrupt.h"

namespace nervus::cli {
namespace {

// Characters on the screen: bytes that do not continue a UTF-8 sequence.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool colour_on(int descriptor) {
  const char* refused = std::getenv("NO_COLOR");
  return isatty(descriptor) == 1 && (refused == nullptr || *refused == '\0');
}

std::string painted(Style style, const std::string& text) {
  static constexpr std::array codes = {"", "32", "1;31", "2", "1"};  // in the order of Style
  if (style == Style::plain) return text;
  return std::string("\033[") + codes.at(static_cast<std::size_t>(style)) + "m" + text + "\033[0m";
}

// One long operation as it goes; shared by copies of its ProgressFunction.
class ProgressLine {
 public:
  ProgressLine() : terminal_(isatty(STDERR_FILENO) == 1) {}
  ~ProgressLine() { clear(); }

  void update(std::int64_t done, std::int64_t total, const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    const bool finished = done >= total;
    const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000);
    if (!finished && now - shown_ < pause) return;
    if (!terminal_ && (now - begun_ < pause || finished)) return;
    shown_ = now;
    const double share = total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 1.0;
    const std::string percent = std::to_string(static_cast<int>(share * 100)) + " %";
    if (!terminal_) {
      std::cerr << "nervus: " << what << ": " << percent << '\n';
      return;
    }
    constexpr int cells = 30;
    const int full = static_cast<int>(share * cells);
    std::string bar;
    for (int i = 0; i < cells; ++i) bar += i < full ? "━" : "╌";
    clear();
    std::cerr << bar << ' ' << percent << "  " << one_line(what).substr(0, 60) << std::flush;
    drawn_ = true;
    if (finished) clear();
  }

 private:
  void clear() {
    if (drawn_) std::cerr << "\r\033[K" << std::flush;
    drawn_ = false;
  }

  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point shown_;
};

// Letters to insert, delete or replace (Levenshtein).
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> cost(b.size() + 1);
  std::iota(cost.begin(), cost.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(cost[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j)
      diagonal = std::exchange(cost[j], std::min({cost[j] + 1, cost[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])}));
  }
  return cost.back();
}

}  // namespace

Table::Table(std::vector<std::string> headings, std::vector<std::size_t> left) : left_(headings.size(), false) {
  left_.at(0) = true;
  for (const std::size_t column : left) left_.at(column) = true;
  rows_.push_back({std::move(headings), Style::faint});
}

void Table::add(std::vector<std::string> cells, Style style) {
  cells.resize(left_.size());
  rows_.push_back({std::move(cells), style});
}

std::string Table::text(bool colour) const {
  std::vector<std::size_t> widths(left_.size(), 0);
  for (const Row& row : rows_)
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row.cells[i]));
  std::string out;
  for (const Row& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string space(widths[i] - width_of(row.cells[i]), ' ');
      line += (i == 0 ? "  " : "   ") + (left_[i] ? row.cells[i] + space : space + row.cells[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += (colour ? painted(row.style, line) : line) + '\n';
  }
  return out;
}

void Output::text(const std::string& text) const {
  if (!json) std::cout << text << '\n';
}

void Output::table(const Table& table) const {
  if (!json) std::cout << table.text(colour_on(STDOUT_FILENO));
}

void Output::document(const Json& document) const {
  if (json) std::cout << document.dump(1, ' ', false, Json::error_handler_t::replace) << '\n';
}

ProgressFunction Output::progress() const {
  if (quiet) return {};
  return [line = std::make_shared<ProgressLine>()](std::int64_t done, std::int64_t total, const std::string& what) {
    line->update(done, total, what);
  };
}

std::string Output::styled(Style style, const std::string& text) const {
  return colour_on(STDOUT_FILENO) ? painted(style, text) : text;
}

void Output::verdict(const Table& table, const Json& report, bool good, const std::string& line) const {
  this->table(table);
  text(styled(good ? Style::good : Style::bad, line));
  document(report);
}

int Output::report(const Error& error) const {
  const int code = exit_code(error.kind());
  document({{"error", {{"kind", name_of(error.kind())}, {"message", error.what()}, {"exit_code", code}}}});
  std::cout.flush();
  std::cerr << "nervus: error: " << one_line(error.what()) << '\n';
  return code;
}

void print_plan(const std::string& what, const std::vector<std::string>& plan, const Output& output) {
  constexpr std::size_t shown = 24;
  for (std::size_t i = 0; i < std::min(plan.size(), shown); ++i)
    output.text((i == 0 ? what + ": " : "  ") + one_line(plan[i]));
  if (plan.size() > shown) output.text("  and " + std::to_string(plan.size() - shown) + " more: --json lists them all");
}

std::string number(double value, int digits) { return formatted("%.*g", digits, value); }

std::string scaled(double value, const std::string& unit) {
  static constexpr std::array<const char*, 6> prefixes = {"", "k", "M", "G", "T", "P"};
  std::size_t prefix = 0;
  while (std::abs(value) >= 999.5 && prefix + 1 < prefixes.size()) {
    value /= 1000;
    ++prefix;
  }
  return number(value, prefix == 0 ? 4 : 3) + " " + prefixes[prefix] + unit;
}

std::string duration(double milliseconds) {
  if (milliseconds >= 10000) return formatted("%.2f s", milliseconds / 1000);
  return formatted(milliseconds >= 100 ? "%.0f ms" : "%.2f ms", milliseconds);
}

std::string listed(const std::vector<std::string>& words, const std::string& last) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " " + last + " " : ", ";
    out += words[i];
  }
  return out;
}

std::string shortest(float value) {
  std::array<char, 32> buffer{};
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
}

std::string one_line(const std::string& text) {
  std::string out = text;
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return out;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.size() > 60) return "";
  std::string best;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t far = word.size() > 3 && candidate.starts_with(word) ? 0 : distance(word, candidate);
    if (far >= least) continue;
    least = far;
    best = ": did you mean '" + candidate + "'?";
  }
  return best;
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  Unfinished file(path);
  std::ofstream stream(file.path(), std::ios::binary);
  stream << text;
  stream.close();
  if (!stream) throw Error(ErrorKind::io, path.string() + ": cannot be written");
  file.commit();
}

std::string read_text(const std::filesystem::path& path, std::uintmax_t limit) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw Error(ErrorKind::io, path.string() + ": expected a file, found a directory");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw Error(ErrorKind::io, path.string() + ": cannot be read: check that it exists and may be read");
  std::string text;
  std::array<char, 65536> block{};
  while (stream.read(block.data(), block.size()) || stream.gcount() > 0) {
    text.append(block.data(), static_cast<std::size_t>(stream.gcount()));
    if (text.size() > limit)
      throw Error(ErrorKind::input, path.string() + ": larger than the " + scaled(static_cast<double>(limit), "B") +
                                        " that such a file may have");
  }
  return text;
}

}  // namespace nervus::cli
