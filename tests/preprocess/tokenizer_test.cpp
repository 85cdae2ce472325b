// The tokenizer against what the `tokenizers` package makes of the same texts, its files in both forms, prompts, and
// what a user is told about a broken one.
#include "preprocess/tokenizer.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/json.h"
#include "checkpoint/support.h"
#include "nervus/error.h"
#include "preprocess/tokenizer_parts.h"
#include "preprocess/unicode.h"

using namespace nervus;

namespace {

using Ids = std::vector<std::int32_t>;
using Words = std::vector<std::string_view>;

const std::filesystem::path goldens = NERVUS_SOURCE_DIR "/tests/goldens/tokenizer";
constexpr std::int64_t large = 4096;

// tokenizer.json of write_byte_tokenizer.
Json byte_tokenizer(std::int64_t vocabulary_size) {
  const test::TemporaryDirectory directory;
  write_byte_tokenizer(directory.path(), vocabulary_size);
  return read_json(directory / "tokenizer.json");
}

Tokenizer parse(const Json& json) { return Tokenizer::parse(json.dump(), "tokenizer.json"); }

void check_goldens(const Tokenizer& tokenizer) {
  const Json cases = read_json(goldens / "cases.json");
  CHECK(cases.size() >= 300);
  for (const Json& each : cases) {
    const auto text = each.at("text").get<std::string>();
    CAPTURE(text);
    CHECK(tokenizer.encode(text) == each.at("ids").get<Ids>());
  }
}

// vocab.json, merges.txt and, with `configured`, tokenizer_config.json from the golden tokenizer.json.
void write_parts(const test::TemporaryDirectory& directory, bool configured) {
  const Json whole = read_json(goldens / "tokenizer.json");
  const Json& model = whole.at("model");
  std::string merges = "#version: 0.2\n";
  for (const Json& merge : model.at("merges")) {
    merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\r\n";
  }
  directory.write("vocab.json", model.at("vocab").dump());
  directory.write("merges.txt", merges);
  Json tokens = Json::object();
  for (const Json& token : whole.at("added_tokens")) tokens[std::to_string(token.at("id").get<int>())] = token;
  if (configured) directory.write("tokenizer_config.json", Json{{"added_tokens_decoder", tokens}}.dump());
}

struct Broken {
  std::string what;
  std::string message;  // behind "tokenizer.json: "
  std::string pointer;  // the field that is replaced, or removed
  std::optional<Json> value;
};

}  // namespace

TEST_CASE("tokenizer: equals the tokenizers package") {
  const Tokenizer tokenizer = Tokenizer::load(goldens);
  CHECK(tokenizer.vocabulary_size() == 3022);
  check_goldens(tokenizer);
}

TEST_CASE("tokenizer: vocab.json and merges.txt give the same ids") {
  const test::TemporaryDirectory directory;
  write_parts(directory, true);
  const Tokenizer tokenizer = Tokenizer::load(directory.path());
  CHECK(tokenizer.vocabulary_size() == 3022);
  check_goldens(tokenizer);
}

TEST_CASE("tokenizer: without a configuration only <|endoftext|> is added") {
  const test::TemporaryDirectory directory;
  write_parts(directory, false);
  const Tokenizer tokenizer = Tokenizer::load(directory.path());
  CHECK(tokenizer.vocabulary_size() == 3001);
  CHECK(tokenizer.encode("<|endoftext|>") == Ids{3000});
  CHECK(tokenizer.encode("<|im_start|>").size() > 1);
}

TEST_CASE("tokenizer: merges may be pairs or texts") {
  Json json = byte_tokenizer(large);
  const Ids expected = parse(json).encode("put the box and the bock");
  for (Json& merge : json["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
  }
  CHECK(parse(json).encode("put the box and the bock") == expected);
}

TEST_CASE("tokenizer: the lowest rank merges first, the leftmost of equals") {
  Json json = byte_tokenizer(257);
  json["model"]["vocab"].update({{"aa", 300}, {"aab", 301}, {"ab", 302}, {"aaab", 303}});
  json["model"]["merges"] = {"a a", "a b", "aa b"};
  const Tokenizer tokenizer = parse(json);
  CHECK(tokenizer.encode("aaa") == Ids{300, 'a'});
  CHECK(tokenizer.encode("aab") == Ids{301});
  CHECK(tokenizer.encode("aaab") == Ids{300, 302});
  CHECK(tokenizer.encode("baab") == Ids{'b', 301});
  json["model"]["merges"] = {"a b", "a a", "aa ab"};
  CHECK(parse(json).encode("aaab") == Ids{303});
}

TEST_CASE("tokenizer: the longest added token is taken, and <bos> is plain text") {
  Json json = byte_tokenizer(257);
  Json longer = json["added_tokens"][0];
  longer.update({{"id", 400}, {"content", "<|endoftext|>|"}});
  json["added_tokens"].push_back(longer);
  const Tokenizer tokenizer = parse(json);
  CHECK(tokenizer.encode("a<|endoftext|>b<|endoftext|>||") == Ids{'a', 256, 'b', 400, '|'});
  CHECK(tokenizer.encode("<bos>") == Ids{'<', 'b', 'o', 's', '>'});
  CHECK(tokenizer.vocabulary_size() == 401);
}

TEST_CASE("tokenizer: without a normalizer text stays as it is") {
  Json json = byte_tokenizer(257);
  CHECK(parse(json).encode("e\u0301") == Ids{0xc3, 0xa9});
  json.erase("normalizer");
  CHECK(parse(json).encode("e\u0301") == Ids{'e', 0xcc, 0x81});
}

TEST_CASE("tokenizer: long runs of one class take no quadratic time") {
  const Tokenizer tokenizer = Tokenizer::load(goldens);
  constexpr std::size_t length = 200'000;
  for (const std::string_view piece : {"a", " ", "\n", "!", "7", "\u0301", "\u00e9"}) {
    std::string text;
    while (text.size() < length) text += piece;
    CAPTURE(piece);
    CHECK(!tokenizer.encode(text).empty());
  }
  CHECK(tokenizer.encode("").empty());
}

TEST_CASE("byte tokenizer: every size, ids below it, one token a byte") {
  std::string every(256 - 0x80, '\0');
  for (std::size_t i = 0; i < every.size(); ++i) every[i] = static_cast<char>(i);
  Ids bytes(every.size());
  std::iota(bytes.begin(), bytes.end(), 0);
  for (const std::int64_t size : {256, 257, 258, 272, 273, 2048}) {
    CAPTURE(size);
    const Tokenizer tokenizer = parse(byte_tokenizer(size));
    CHECK(static_cast<std::int64_t>(tokenizer.vocabulary_size()) <= size);
    CHECK(tokenizer.encode(every) == bytes);
  }
  CHECK(parse(byte_tokenizer(256)).vocabulary_size() == 256);
  CHECK(parse(byte_tokenizer(large)).vocabulary_size() == 273);
  CHECK(parse(byte_tokenizer(257)).encode("<|endoftext|>") == Ids{256});
  CHECK(parse(byte_tokenizer(large)).encode("put the box").size() == 4);
}

TEST_CASE("prompt: <bos> in front, a newline behind, padding on the right") {
  const Tokenizer tokenizer = parse(byte_tokenizer(256));
  const Ids wrapped{'<', 'b', 'o', 's', '>', 'g', 'o', '\n', padding_token, padding_token};
  const std::vector<std::uint8_t> valid{1, 1, 1, 1, 1, 1, 1, 1, 0, 0};
  for (const std::string_view text : {"go", "<bos>go", "go\n", "<bos>go\n"}) {
    CAPTURE(text);
    const Prompt prompt = encode_prompt(tokenizer, text, 10);
    CHECK(prompt.tokens == wrapped);
    CHECK(prompt.valid == valid);
  }
  CHECK(encode_prompt(tokenizer, "go", 8).tokens == Ids(wrapped.begin(), wrapped.begin() + 8));
  const Prompt cut = encode_prompt(tokenizer, "go", 6);
  CHECK(cut.tokens == Ids(wrapped.begin(), wrapped.begin() + 6));
  CHECK(cut.valid == std::vector<std::uint8_t>(6, 1));
  CHECK(encode_prompt(tokenizer, "", 8).tokens == Ids{'<', 'b', 'o', 's', '>', '\n', padding_token, padding_token});
  CHECK(encode_prompt(tokenizer, " <bos>", 20).valid[11] == 1);
  CHECK(encode_prompt(tokenizer, std::string(max_prompt_bytes, 'a'), 5000).valid[max_prompt_bytes + 5] == 1);
}

TEST_CASE("unicode: validity, composition and categories") {
  CHECK(find_invalid_utf8("a\u00e9\u20ac\U0001f600") == std::string_view::npos);
  const std::vector<std::pair<std::string_view, std::size_t>> invalid{
      {"\x80", 0}, {"ab\xff", 2}, {"a\xc3", 1}, {"\xc0\xaf", 0}, {"x\xed\xa0\x80", 1}, {"\xf4\x90\x80\x80", 0}};
  for (const auto& [text, offset] : invalid) CHECK(find_invalid_utf8(text) == offset);

  CHECK(to_nfc("e\u0323\u0302") == "\u1ec7");
  CHECK(to_nfc("\u1112\u1161\u11ab") == "\ud55c");
  CHECK(to_nfc("\u212b") == "\u00c5");
  CHECK(to_nfc("a\u09fe\u0323") == "a\u09fe\u0323");  // class 230 since Unicode 11
  CHECK(to_nfc("\U00011935\U00011930e\u0301") == "\U00011935\U00011930\u00e9");

  const SplitPattern letters("\\p{L}+|\\p{N}|\\s+", "test");
  CHECK(letters.split("a\U00031350b") == Words{"a\U00031350b"});          // a letter since Unicode 15
  CHECK(letters.split("a\U00010d40b") == Words{"a", "\U00010d40", "b"});  // a number since Unicode 16
  CHECK(letters.split(" \u180e ") == Words{" ", "\u180e", " "});          // no space since Unicode 6.3
  CHECK(letters.split("!?a!") == Words{"!?", "a", "!"});
}

TEST_CASE("tokenizer: broken files are refused with words") {
  const std::string steps = "/pre_tokenizer/pretokenizers";
  const std::string qwen = ", as in Qwen2.5's tokenizer, found ";
  const std::string id = ": expected an id from 0 to 2147483646, found ";
  const std::string pair = "': expected two tokens that make a third, found ";
  const std::vector<Broken> table{
      {"another model", "field 'model.type': expected \"BPE\"" + qwen + "\"WordPiece\"", "/model/type", "WordPiece"},
      {"no model", "field 'model': expected an object, but it is missing", "/model", {}},
      {"byte fallback", "field 'model.byte_fallback': expected false" + qwen + "true", "/model/byte_fallback", true},
      {"words first", "field 'model.ignore_merges': expected false" + qwen + "true", "/model/ignore_merges", true},
      {"dropout", "field 'model.dropout': expected false" + qwen + "0.1", "/model/dropout", 0.1},
      {"prefix", "field 'model.continuing_subword_prefix': expected \"\"" + qwen + "\"##\"",
       "/model/continuing_subword_prefix", "##"},
      {"NFKC", "field 'normalizer.type': expected \"NFC\"" + qwen + "\"NFKC\"", "/normalizer/type", "NFKC"},
      {"no pre_tokenizer", "field 'pre_tokenizer': expected an object, but it is missing", "/pre_tokenizer", {}},
      {"no steps", "field 'pre_tokenizer.pretokenizers': expected Split and ByteLevel" + qwen + "an array of 0", steps,
       Json::array()},
      {"split that removes",
       "field 'pre_tokenizer.pretokenizers[0]': field 'behavior': expected \"Isolated\"" + qwen + "\"Removed\"",
       steps + "/0/behavior", "Removed"},
      {"prefix space",
       "field 'pre_tokenizer.pretokenizers[1]': field 'add_prefix_space': expected false" + qwen + "true",
       steps + "/1/add_prefix_space", true},
      {"wrong pattern",
       "field 'pre_tokenizer.pretokenizers[0]': field 'pattern.Regex': expected a regular expression, found an error "
       "at "
       "byte 3: missing closing parenthesis",
       steps + "/0/pattern/Regex", "a(b"},
      {"exploding pattern",
       "field 'pre_tokenizer.pretokenizers[0]': field 'pattern.Regex': expected a regular expression that splits any "
       "text, found one that fails on 40 bytes of text: match limit exceeded",
       steps + "/0/pattern/Regex", "(x+x+)+[yz]"},
      {"tokens around", "field 'post_processor.type': expected \"ByteLevel\"" + qwen + "\"TemplateProcessing\"",
       "/post_processor/type", "TemplateProcessing"},
      {"no vocabulary", "field 'model.vocab': expected a value, but it is missing", "/model/vocab", {}},
      {"list of tokens", "field 'model.vocab': expected an object of tokens and their ids", "/model/vocab",
       Json::array()},
      {"negative id", "field 'model.vocab': token 'put'" + id + "-1", "/model/vocab/put", -1},
      {"fraction as id", "field 'model.vocab': token 'put'" + id + "1.5", "/model/vocab/put", 1.5},
      {"large id", "field 'model.vocab': token 'put'" + id + "2147483648", "/model/vocab/put", std::int64_t{1} << 31},
      {"an id twice",
       "field 'model.vocab': token 'put': expected an id that no other token has, found 65, the id of 'A'",
       "/model/vocab/put", 65},
      {"missing byte",
       "field 'model.vocab': expected a token for each of the 256 bytes, found none for byte 97, which is written 'a'",
       "/model/vocab/a",
       {}},
      {"no merges", "field 'model.merges': expected a value, but it is missing", "/model/merges", {}},
      {"merge of one", "field 'model.merges[3]': expected two tokens with a space between them, found 'in'",
       "/model/merges/3", "in"},
      {"merge of numbers", "field 'model.merges[3]': expected two tokens, found [1,2]", "/model/merges/3",
       Json::array({1, 2})},
      {"merge of three", "field 'model.merges[3]" + pair + "'i' and 'n g', but the vocabulary has no 'n g'",
       "/model/merges/3", "i n g"},
      {"unknown part", "field 'model.merges[0]" + pair + "'qu' and 'i', but the vocabulary has no 'qu'",
       "/model/merges/0", "qu i"},
      {"unknown whole", "field 'model.merges[0]" + pair + "'q' and 'q', but the vocabulary has no 'qq'",
       "/model/merges/0", "q q"},
      {"merge twice", "field 'model.merges[1]': expected every merge once, found 'Ġ' and 't' a second time",
       "/model/merges/1", "Ġ t"},
      {"added token without text", "field 'added_tokens[0]': field 'content': expected the text of a token, found \"\"",
       "/added_tokens/0/content", ""},
      {"added token that strips", "field 'added_tokens[0]': field 'lstrip': expected false" + qwen + "true",
       "/added_tokens/0/lstrip", true},
      {"added token without id",
       "field 'added_tokens[0]': field 'id': expected an integer from 0 to 2147483646, but it is missing",
       "/added_tokens/0/id",
       {}},
      {"added token with a byte's id",
       "field 'added_tokens[0]': field 'content': token '<|endoftext|>': expected an id that no other token has, found "
       "66, the id of 'B'",
       "/added_tokens/0/id", 66},
      {"added token with another id",
       "field 'added_tokens[0]': field 'content': token 'a': expected the id it has elsewhere, 97, found 256",
       "/added_tokens/0/content", "a"},
      {"added token that is no object", "field 'added_tokens[0]': expected a JSON object, found 5", "/added_tokens/0",
       5},
  };
  for (const Broken& row : table) {
    Json json = byte_tokenizer(large);
    const Json::json_pointer pointer(row.pointer);
    if (row.value) json[pointer] = *row.value;
    else json.at(pointer.parent_pointer()).erase(pointer.back());
    const auto [kind, message] = test::error_of([&] { parse(json).encode(std::string(40, 'x')); });
    CAPTURE(row.what);
    CHECK(kind == ErrorKind::checkpoint);
    CHECK(message == "tokenizer.json: " + row.message);
  }
}

TEST_CASE("tokenizer: broken vocab.json, merges.txt and tokenizer_config.json are refused with words") {
  struct Row {
    std::string file;
    std::string bytes;
    std::string message;
  };
  const std::string vocabulary = read_json(goldens / "tokenizer.json").at("model").at("vocab").dump();
  const std::vector<Row> table{
      {"vocab.json", "[1]", "vocab.json: expected an object of tokens and their ids"},
      {"vocab.json", R"({"a": 1, "a": 2})", "vocab.json: the key 'a' occurs twice in one object"},
      {"merges.txt", "#version: 0.2\n\na b c\n",
       "merges.txt: line 3: expected two tokens that make a third, found 'a' and 'b c', but the vocabulary has no 'b "
       "c'"},
      {"merges.txt", "i n\nin", "merges.txt: line 2: expected two tokens with a space between them, found 'in'"},
      {"merges.txt", "i n\ni n\n", "merges.txt: line 2: expected every merge once, found 'i' and 'n' a second time"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "y"}}})",
       "tokenizer_config.json: field 'added_tokens_decoder.x': expected an id as its name"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"5": {"content": "<y>"}}})",
       "tokenizer_config.json: field 'added_tokens_decoder.5.content': token '<y>': expected an id that no other token "
       "has, found 5, the id of '&'"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"5": {"content": 5}}})",
       "tokenizer_config.json: field 'added_tokens_decoder.5.content': expected a string, found 5"},
  };
  for (const Row& row : table) {
    const test::TemporaryDirectory directory;
    write_parts(directory, false);
    directory.write(row.file, row.bytes);
    const auto [kind, message] = test::error_of([&] { Tokenizer::load(directory.path()); }, directory.path());
    CHECK(kind == ErrorKind::checkpoint);
    CHECK(message == row.message);
  }
  const test::TemporaryDirectory directory;
  const auto load = [&] { Tokenizer::load(directory.path()); };
  CHECK(test::error_of(load, directory.path()) ==
        std::pair(ErrorKind::io, std::string("DIRECTORY: expected the Qwen2.5 tokenizer, tokenizer.json or vocab.json "
                                             "and merges.txt, found neither; copy it beside the checkpoint")));
  directory.write("vocab.json", vocabulary);
  CHECK(test::error_of(load, directory.path()).first == ErrorKind::io);  // no merges.txt
}

TEST_CASE("prompt: broken ones are refused with the byte's number") {
  const Tokenizer tokenizer = parse(byte_tokenizer(256));
  const std::vector<std::pair<std::string, std::string>> table{
      {"go \xff", "prompt: expected UTF-8, found 0xff at byte 3"},
      {"caf\xc3", "prompt: expected UTF-8, found 0xc3 at byte 3"},
      {"\xed\xa0\x80", "prompt: expected UTF-8, found 0xed at byte 0"},
      {std::string("go\0up", 5), "prompt: expected text, found NUL at byte 2"},
      {std::string(4097, 'a'), "prompt: expected at most 4096 bytes, found 4097; cut it before byte 4096"},
  };
  for (const auto& [text, message] : table) {
    CHECK(test::error_of([&] { encode_prompt(tokenizer, text, 72); }) == std::pair(ErrorKind::input, message));
  }
  CHECK(test::error_of([&] { tokenizer.encode("ab\xc0"); }) ==
        std::pair(ErrorKind::input, std::string("text: expected UTF-8, found 0xc0 at byte 2")));
}
