#include "backends/cuda/choices.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <mutex>
#include <optional>
#include <span>

#include "core/message.h"

namespace nervus::cuda {
namespace {

constexpr std::string_view first_line = "nervus plan 1", end_word = "end ", shape_end = " = ";
constexpr std::size_t most_shape_bytes = 120;
constexpr std::pair<std::string_view, WideRole> roles[] = {
    {"linear ", WideRole::add},          {"qkv ", WideRole::qkv},
    {"gate_up ", WideRole::gate_up},     {"fused_add ", WideRole::fused_add},
    {"fused_qkv ", WideRole::fused_qkv}, {"fused_gate_up ", WideRole::fused_gate_up}};

// FNV-1a of 64 bits.
std::uint64_t checksum(std::string_view text) {
  std::uint64_t sum = 0xcbf29ce484222325u;
  for (const char c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return sum;
}

std::string printable(std::string_view text) {
  std::string shown = shortened(text, 100);
  std::ranges::replace_if(
      shown, [](char c) { return c < ' ' || c > '~'; }, '?');
  return shown;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// Digits alone, of a number up to `most`.
std::optional<std::int64_t> number_in(std::string_view text, std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most) return std::nullopt;
  return value;
}

std::optional<Choice::Algorithm> algorithm_in(std::string_view text) {
  Choice::Algorithm bytes{};
  if (text.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char* digits = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(digits, digits + 2, bytes[i], 16);
    if (error != std::errc() || end != digits + 2) return std::nullopt;
  }
  return bytes;
}

std::string text_of(const Choice& choice) {
  if (choice.kernel == Choice::Kernel::plain) return "plain";
  if (choice.kernel == Choice::Kernel::tile) {
    const WideTile& tile = choice.tile;
    return concat(tile.persistent ? "persistent-tile " : "tile ", tile.rows, " ", tile.columns, " ", tile.share_w, " ",
                  tile.share_x, " ", tile.split, " ", choice.nanoseconds);
  }
  std::string text =
      concat(choice.apart ? "library-sums " : "library ", choice.candidates, " ", choice.nanoseconds, " ");
  for (const unsigned char byte : choice.algorithm) text += hexadecimal(byte, 2);
  return text;
}

// What text_of() writes; of a tile, one that is compiled for the role.
std::optional<Choice> choice_in(std::string_view text, WideRole role) {
  constexpr std::int64_t most_nanoseconds = 1'000'000'000'000, any = std::numeric_limits<int>::max();
  const std::vector<std::string_view> words = split(text, ' ');
  std::vector<std::int64_t> numbers;
  const bool persistent = words[0] == "persistent-tile", tiled = persistent || words[0] == "tile";
  const std::size_t counted = tiled ? 7 : 3;
  for (std::size_t i = 1; i < std::min(words.size(), counted); ++i) {
    const auto number = number_in(words[i], i + 1 == counted ? most_nanoseconds : any);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  Choice choice;
  if (text == "plain") {
    if (role == WideRole::add) return choice;
  } else if (tiled && words.size() == 7) {
    const auto tile = std::ranges::find_if(wide_tiles(role), [&](const WideTile& t) {
      return t.persistent == persistent &&
             std::ranges::equal(std::array{t.rows, t.columns, t.share_w, t.share_x, t.split},
                                std::span(numbers).first(5));
    });
    if (tile == wide_tiles(role).end()) return std::nullopt;
    choice.kernel = Choice::Kernel::tile;
    choice.tile = *tile;
    choice.nanoseconds = numbers[5];
    return choice;
  } else if ((words[0] == "library" || words[0] == "library-sums") && words.size() == 4 && role == WideRole::add) {
    const auto algorithm = algorithm_in(words[3]);
    if (!algorithm) return std::nullopt;
    choice.kernel = Choice::Kernel::library;
    choice.apart = words[0] == "library-sums";
    choice.candidates = static_cast<int>(numbers[0]);
    choice.nanoseconds = numbers[1];
    choice.algorithm = *algorithm;
    return choice;
  }
  return std::nullopt;
}

[[noreturn]] void fail_damaged(const std::string& what) {
  fail(ErrorKind::checkpoint, what, ": the plan is damaged: delete it, so that it is made anew, or give another file");
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  ChoiceMap read(const ChoiceIdentity& identity) {
    if (next() != first_line)
      fail(ErrorKind::checkpoint, file_, ": expected a plan, whose first line is '", first_line,
           "', found another: give the file that a load with this option wrote, or one that is not there yet");
    check_whole();
    for (const auto& [name, value] : identity) {
      const std::string expected = concat(name, " ", value), found(next());
      if (found != expected)
        fail(ErrorKind::unsupported, file_, ": this plan was made by another device or build: expected '", expected,
             "', found '", printable(found), "': delete it, so that it is made anew, or give another file");
    }
    ChoiceMap choices;
    while (!text_.empty()) {
      const std::string_view line = next();
      const std::size_t end = std::min(line.find(shape_end), line.size());
      const std::string_view shape = line.substr(0, end);
      const auto role = std::ranges::find_if(roles, [&](const auto& r) { return shape.starts_with(r.first); });
      if (role == std::end(roles) || end == line.size() || end > most_shape_bytes)
        damaged(concat("expected a shape and its choice, found '", printable(line), "'"));
      const auto choice = choice_in(line.substr(end + shape_end.size()), role->second);
      if (!choice) damaged(concat("expected a kernel that there is, found '", printable(line.substr(end)), "'"));
      if (!choices.emplace(shape, *choice).second) damaged(concat("'", printable(shape), "' is there twice"));
    }
    return choices;
  }

 private:
  std::string_view next() {
    const std::size_t end = std::min(text_.find('\n'), text_.size());
    const std::string_view line = text_.substr(0, end);
    text_.remove_prefix(std::min(end + 1, text_.size()));
    ++line_;
    return line;
  }

  // Takes the last line, the sum of what is before it.
  void check_whole() {
    const std::size_t end = text_.rfind(end_word);
    const std::size_t before = end == std::string_view::npos ? 0 : end;
    const std::string expected = concat(end_word, hexadecimal(checksum(text_.substr(0, before)), 16), "\n");
    if (text_.substr(before) != expected)
      fail_damaged(concat(file_, ": its last line is not the checksum of those before it"));
    text_ = text_.substr(0, before);
  }

  [[noreturn]] void damaged(const std::string& what) const {
    fail_damaged(concat(file_, ", line ", line_, ": ", what));
  }

  std::string_view text_;
  const std::string& file_;
  int line_ = 0;
};

}  // namespace

std::string_view beginning_of(WideRole role) {
  return std::ranges::find(roles, role, [](const auto& each) { return each.second; })->first;
}

std::string write_choices(const ChoiceIdentity& identity, const ChoiceMap& choices) {
  std::string text;
  for (const auto& [name, value] : identity) text += concat(name, " ", value, "\n");
  for (const auto& [shape, choice] : choices) text += concat(shape, shape_end, text_of(choice), "\n");
  return concat(first_line, "\n", text, end_word, hexadecimal(checksum(text), 16), "\n");
}

ChoiceMap read_choices(std::string_view text, const std::string& file, const ChoiceIdentity& identity) {
  return Reader(text, file).read(identity);
}

struct Choices::Shared {
  std::mutex mutex;
  ChoiceMap choices;

  static std::shared_ptr<Shared> of(const ChoiceIdentity& identity) {
    static std::mutex mutex;
    static std::map<ChoiceIdentity, std::shared_ptr<Shared>> all;
    const std::lock_guard lock(mutex);
    std::shared_ptr<Shared>& shared = all[identity];
    if (!shared) shared = std::make_shared<Shared>();
    return shared;
  }
};

Choices::Choices(ChoiceIdentity identity) : identity_(std::move(identity)), shared_(Shared::of(identity_)) {}

void Choices::use(std::string_view text, const std::string& file) {
  choices_.merge(read_choices(text, file, identity_));
  file_ = file;
}

const Choice& Choices::choose(const std::string& shape, const std::function<bool(const Choice&)>& fits,
                              const std::function<Choice()>& measure) {
  const std::lock_guard lock(shared_->mutex);
  const auto kept = choices_.find(shape);
  if (kept != choices_.end()) {
    if (!fits(kept->second))
      fail_damaged(concat(file_, ": the device cannot compute '", shape, "' with '", text_of(kept->second), "'"));
    ++read_;
    shared_->choices.try_emplace(shape, kept->second);
    return kept->second;
  }
  const auto before = shared_->choices.find(shape);
  if (before != shared_->choices.end() && fits(before->second)) {
    ++met_before_;
    return choices_.emplace(shape, before->second).first->second;
  }
  const Choice measured = measure();
  ++measured_;
  shared_->choices.insert_or_assign(shape, measured);
  return choices_.emplace(shape, measured).first->second;
}

std::string Choices::summary() const {
  std::string text = concat("choices: ", measured_, " measured now, ", met_before_, " measured before in this process");
  if (!file_.empty()) text += concat(", ", read_, " read from ", file_);
  return text;
}

}  // namespace nervus::cuda
