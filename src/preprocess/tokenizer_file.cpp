#include <algorithm>
#include <functional>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "checkpoint/file.h"
#include "core/message.h"
#include "preprocess/tokenizer.h"
#include "preprocess/tokenizer_parts.h"

namespace nervus {
namespace {

constexpr std::int64_t largest_id = std::numeric_limits<std::int32_t>::max() - 1;
constexpr std::uint64_t largest_merges_file = std::uint64_t{64} << 20;
constexpr const char* qwen = ", as in Qwen2.5's tokenizer";
constexpr std::string_view qwen_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The character that stands for each byte in vocabularies (`bytes_to_unicode` of GPT-2): itself if it is printable in
// Latin-1 and no space, else the next one from U+0100.
std::array<std::string, 256> byte_symbols() {
  std::array<std::string, 256> symbols;
  int substitute = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    const int point = printable ? byte : substitute++;
    if (point < 0x80) symbols[byte] = {static_cast<char>(point)};
    else symbols[byte] = {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 0x3f))};
  }
  return symbols;
}

template <typename... Parts>
[[noreturn]] void refuse(const std::string& where, const Parts&... parts) {
  fail(ErrorKind::checkpoint, where, parts...);
}

// Collects tokens. `where` is the beginning of messages, file and field.
class Vocabulary {
 public:
  // All tokens of an object, which must outlive this.
  Vocabulary(TokenizerParts empty, const Json& tokens, const std::string& where) : parts(std::move(empty)) {
    if (!tokens.is_object()) refuse(where, ": expected an object of tokens and their ids");
    ids_.reserve(tokens.size());
    texts_.reserve(tokens.size());
    for (const auto& [text, id] : tokens.get_ref<const Json::object_t&>()) {
      if (!id.is_number_integer() || id < 0 || id > largest_id) {
        refuse(where, ": token ", in_quotes(text), ": expected an id from 0 to ", largest_id, ", found ",
               shortened(id.dump(), 60));
      }
      add(text, id.get<std::int64_t>(), where);
    }
    for (int byte = 0; const std::string& symbol : byte_symbols()) {
      const auto found = ids_.find(symbol);
      if (found == ids_.end()) {
        refuse(where, ": expected a token for each of the 256 bytes, found none for byte ", byte, ", which is written ",
               in_quotes(symbol));
      }
      parts.pairs.set_byte(static_cast<std::size_t>(byte++), found->second);
    }
  }

  // `where` is called if it is wrong.
  void add_merge(std::string_view left, std::string_view right, const auto& where) {
    const auto both = [&] { return in_quotes(left) + " and " + in_quotes(right); };
    const auto id = [&](std::string_view text) {
      const auto found = ids_.find(text);
      if (found != ids_.end()) return found->second;
      refuse(where(), ": expected two tokens that make a third, found ", both(), ", but the vocabulary has no ",
             in_quotes(text));
    };
    const std::int32_t first = id(left), second = id(right);
    const std::string merged = concat(left, right);
    const auto next = texts_.find(last_merged_ + 1);  // ids rise with rank in most vocabularies: spares a search
    last_merged_ = next != texts_.end() && next->second == merged ? next->first : id(merged);
    if (parts.pairs.add_merge(first, second, last_merged_)) return;
    refuse(where(), ": expected every merge once, found ", both(), " a second time");
  }
  // "left right"
  void add_merge(std::string_view line, const auto& where) {
    const auto space = line.find(' ');
    if (space == line.npos) refuse(where(), ": expected two tokens with a space between them, found ", in_quotes(line));
    add_merge(line.substr(0, space), line.substr(space + 1), where);
  }

  // A token with properties as tokenizer.json writes them.
  void add_added(const Fields& fields, std::int64_t id) {
    for (const char* property : {"single_word", "lstrip", "rstrip", "normalized"}) {
      if (fields.boolean_or(property, false)) fields.refuse(property, concat("false", qwen));
    }
    if (fields.text("content").empty()) fields.refuse("content", "the text of a token");
    add_added(fields.text("content"), id, fields.where("content"));
  }
  void add_added(const std::string& text, std::int64_t id, const std::string& where) {
    const AddedToken& token = parts.added.emplace_back(text, static_cast<std::int32_t>(id));
    const auto known = ids_.find(text);
    if (known == ids_.end()) return add(token.text, id, where);
    if (known->second == id) return;
    refuse(where, ": token ", in_quotes(text), ": expected the id it has elsewhere, ", known->second, ", found ", id);
  }

  TokenizerParts finish() {
    std::ranges::sort(parts.added, std::greater{}, [](const AddedToken& token) { return token.text.size(); });
    return std::move(parts);
  }

  TokenizerParts parts;

 private:
  void add(std::string_view text, std::int64_t id, const std::string& where) {
    const auto [owner, is_new] = texts_.emplace(static_cast<std::int32_t>(id), text);
    if (!is_new) {
      refuse(where, ": token ", in_quotes(text), ": expected an id that no other token has, found ", id, ", the id of ",
             in_quotes(owner->second));
    }
    ids_.emplace(text, static_cast<std::int32_t>(id));
    parts.vocabulary_size = std::max(parts.vocabulary_size, id + 1);
  }

  std::unordered_map<std::string_view, std::int32_t> ids_;
  std::unordered_map<std::int32_t, std::string_view> texts_;
  std::int32_t last_merged_ = 0;
};

// The fields that decide what a tokenizer does must have these values; one that stands for "off" may be missing.
void require(const Fields& fields, std::initializer_list<std::pair<const char*, Json>> expected) {
  for (const auto& [name, value] : expected) {
    const bool off = value == false || value == "";
    if (fields.has(name) ? fields.value(name) != value : !off) fields.refuse(name, value.dump() + qwen);
  }
}

const Json::array_t& array(const Fields& fields, std::string_view name) {
  if (!fields.value(name).is_array()) fields.refuse(name, "an array");
  return fields.value(name).get_ref<const Json::array_t&>();
}

// "tokenizer.json: field 'model.merges[3]'"
std::string place(const Fields& fields, const char* name, std::size_t index) {
  return fields.where(concat(name, "[", index, "]"));
}

// Checks all but vocabulary and merges. The pre_tokenizer is a Split by a pattern, and a ByteLevel that only turns
// bytes into characters.
TokenizerParts read_components(const Fields& json) {
  require(json.object("model"), {{"type", "BPE"},
                                 {"dropout", false},
                                 {"byte_fallback", false},
                                 {"ignore_merges", false},
                                 {"continuing_subword_prefix", ""},
                                 {"end_of_word_suffix", ""}});
  if (json.has("normalizer")) require(json.object("normalizer"), {{"type", "NFC"}});
  if (json.has("post_processor")) require(json.object("post_processor"), {{"type", "ByteLevel"}});  // others add tokens
  const Fields sequence = json.object("pre_tokenizer");
  require(sequence, {{"type", "Sequence"}});
  const auto& steps = array(sequence, "pretokenizers");
  if (steps.size() != 2) sequence.refuse("pretokenizers", concat("Split and ByteLevel", qwen));
  const Fields split(steps[0], place(sequence, "pretokenizers", 0)),
      bytes(steps[1], place(sequence, "pretokenizers", 1));
  require(split, {{"type", "Split"}, {"behavior", "Isolated"}, {"invert", false}});
  require(bytes, {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  const Fields pattern = split.object("pattern");
  return {.pattern = SplitPattern(pattern.text("Regex"), pattern.where("Regex")), .nfc = json.has("normalizer")};
}

// merges.txt: a merge a line, behind a line that begins with #version.
void add_merges(const std::filesystem::path& path, Vocabulary& vocabulary) {
  std::istringstream lines(read_text(path, largest_merges_file));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line.starts_with("#version")) continue;
    vocabulary.add_merge(line, [&] { return concat(path.string(), ": line ", number); });
  }
}

// The added tokens of tokenizer_config.json; without them <|endoftext|>, as Qwen2Tokenizer of `transformers` does.
void add_configured_tokens(const std::filesystem::path& path, Vocabulary& vocabulary) {
  const Fields config = is_there(path) ? Fields::read(path) : Fields(Json::object(), path.string());
  if (!config.has("added_tokens_decoder")) {
    return vocabulary.add_added("<|endoftext|>", vocabulary.parts.vocabulary_size, path.string());
  }
  const Fields tokens = config.object("added_tokens_decoder");
  for (const std::string& name : tokens.names()) {
    const bool is_id = !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == name.npos;
    if (!is_id) refuse(tokens.where(name), ": expected an id as its name");
    vocabulary.add_added(tokens.object(name), std::stoi(name));
  }
}

}  // namespace

TokenizerParts parse_tokenizer(const Fields& json) {
  TokenizerParts components = read_components(json);
  const Fields model = json.object("model");
  Vocabulary vocabulary(std::move(components), model.value("vocab"), model.where("vocab"));
  const auto& merges = array(model, "merges");
  vocabulary.parts.pairs.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    const auto where = [&] { return place(model, "merges", i); };
    if (merge.is_string()) vocabulary.add_merge(merge.get_ref<const std::string&>(), where);
    else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      vocabulary.add_merge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(), where);
    } else refuse(where(), ": expected two tokens, found ", shortened(merge.dump(), 60));
  }
  const Json::array_t none, &added = json.has("added_tokens") ? array(json, "added_tokens") : none;
  for (std::size_t i = 0; i < added.size(); ++i) {
    const Fields fields(added[i], place(json, "added_tokens", i));
    vocabulary.add_added(fields, fields.integer("id", 0, largest_id));
  }
  return vocabulary.finish();
}

TokenizerParts read_tokenizer(const std::filesystem::path& directory) {
  const auto whole = directory / "tokenizer.json", path = directory / "vocab.json";
  if (is_there(whole)) return parse_tokenizer(Fields::read(whole));
  if (!is_there(path)) {
    fail(ErrorKind::io, directory.string(), ": expected the Qwen2.5 tokenizer, tokenizer.json or vocab.json and ",
         "merges.txt, found neither; copy it beside the checkpoint");
  }
  const Json tokens = read_json(path);
  Vocabulary vocabulary({.pattern = SplitPattern(qwen_pattern, path.string())}, tokens, path.string());
  add_merges(directory / "merges.txt", vocabulary);
  add_configured_tokens(directory / "tokenizer_config.json", vocabulary);
  return vocabulary.finish();
}

void write_byte_tokenizer(const std::filesystem::path& directory, std::int64_t vocabulary_size) {
  check(vocabulary_size >= 256, "a byte tokenizer has 256 tokens");
  constexpr std::array<std::string_view, 16> pairs{"Ġ t",  "h e", "Ġt he", "i n", "in g", "o n",  "r e", "u t",
                                                   "p ut", "a n", "an d",  "b o", "bo x", "bo s", "c k", "i ck"};
  Json file = Json::parse(R"({"version": "1.0", "normalizer": {"type": "NFC"}, "added_tokens": [
      {"id": 256, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": true}],
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]},
    "model": {"type": "BPE", "vocab": {}, "merges": []}})");
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = qwen_pattern;
  if (vocabulary_size == 256) file["added_tokens"].clear();
  Json& tokens = file["model"]["vocab"];
  for (int byte = 0; const std::string& symbol : byte_symbols()) tokens[symbol] = byte++;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(pairs.size(), vocabulary_size - 257); ++i) {
    std::string merge(pairs[i]);
    file["model"]["merges"].push_back(merge);
    tokens[merge.erase(merge.find(' '), 1)] = 257 + i;
  }
  write_text(directory / "tokenizer.json", file.dump(1) + "\n");
}

}  // namespace nervus
