// Every way a checkpoint's files can be wrong, with the whole message that a user gets. The files are tiny and the
// numbers in them huge: an allocation from such a number would end the test.
#include <doctest/doctest.h>

#include <vector>

#include "checkpoint/checkpoint.h"
#include "support.h"

using namespace nervus;
using namespace nervus::test;

namespace {

// {"x": <entry>} and so many bytes of data.
std::string one_tensor(const std::string& entry, std::size_t data_bytes) {
  return safetensors("{\"x\":{" + entry + "}}", std::string(data_bytes, '\1'));
}

std::string floats(const std::string& name, int count) {
  return safetensors("{\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(count) +
                         "],\"data_offsets\":[0," + std::to_string(4 * count) + "]}}",
                     std::string(4 * count, '\0'));
}

std::string index_of(const std::string& weight_map, const std::string& total = "8") {
  return R"({"metadata":{"total_size":)" + total + R"(},"weight_map":{)" + weight_map + "}}";
}

struct BrokenFile {
  std::string bytes;
  std::string message;
};

const std::vector<BrokenFile> files = {
    {"", "model.safetensors: expected a safetensors file, found only 0 bytes"},
    {std::string("\x10\0\0", 3), "model.safetensors: expected a safetensors file, found only 3 bytes"},
    {bytes_of(std::uint64_t{0xffffffffffffffff}) + "{}",
     "model.safetensors: expected a header of at most 2 bytes, found the length 18446744073709551615: this is not a "
     "safetensors file"},
    {bytes_of(std::uint64_t{100'000'001}) + "{}",
     "model.safetensors: expected a header of at most 2 bytes, found the length 100000001: this is not a safetensors "
     "file"},
    {bytes_of(std::uint64_t{99'999'999}) + "{}",
     "model.safetensors: expected a header of at most 2 bytes, found the length 99999999: the file was cut short, copy "
     "it again"},
    {safetensors(""), "model.safetensors: expected the header to begin with '{'"},
    {safetensors(" {}"), "model.safetensors: expected the header to begin with '{'"},
    {safetensors("{}\n"), "model.safetensors: expected the header to end with '}' and spaces only"},
    {safetensors("{} x"), "model.safetensors: expected the header to end with '}' and spaces only"},
    {safetensors(std::string("{}\0 }", 5)), "model.safetensors: header: not valid JSON: a zero byte at offset 2"},
    {safetensors("{\"x\":}"),
     "model.safetensors: header: not valid JSON at line 1, column 6: syntax error while parsing value - unexpected "
     "'}'; expected '[', '{', or a literal"},
    {safetensors("[]"), "model.safetensors: expected the header to begin with '{'"},
    {safetensors("{\"x\":3}"),
     "model.safetensors: header: field 'x': expected an object that describes a tensor, found 3"},
    {safetensors("{} {}"),
     "model.safetensors: header: not valid JSON at line 1, column 4: syntax error while parsing value - unexpected "
     "'{'; expected end of input"},
    {safetensors("{\"__metadata__\":{\"format\":3}}"),
     "model.safetensors: header: field '__metadata__.format': expected a string, found 3"},
    {safetensors("{\"__metadata__\":[]}"),
     "model.safetensors: header: field '__metadata__': expected an object, found an array of 0"},
    {safetensors(
         R"({"x":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[],"data_offsets":[1,2]}})",
         "ab"),
     "model.safetensors: header: the key 'x' occurs twice in one object"},
    {one_tensor(R"("shape":[1],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': field 'dtype': expected a string, but it is missing"},
    {one_tensor(R"("dtype":"F32","data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': field 'shape': expected an array, each a non-negative integer, but it is missing"},
    {one_tensor(R"("dtype":"F32","shape":[1])", 4),
     "model.safetensors: tensor 'x': field 'data_offsets': expected an array, each a non-negative integer, but it is "
     "missing"},
    {one_tensor(R"("dtype":"F8_E5M2","shape":[4],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': the element type 'F8_E5M2' is not supported: expected one of BOOL, U8, I8, "
     "F8_E4M3, U16, "
     "I16, F16, BF16, U32, I32, F32, U64, I64, F64; save it as one of these"},
    {one_tensor(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': the element type 'f32' is not supported: expected one of BOOL, U8, I8, F8_E4M3, "
     "U16, I16, "
     "F16, BF16, U32, I32, F32, U64, I64, F64; save it as one of these"},
    {one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1])", 4),
     "model.safetensors: tensor 'x': expected only dtype, shape and data_offsets, found 'strides'"},
    {one_tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': field 'shape[0]': expected a non-negative integer, found -1"},
    {one_tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': field 'shape[0]': expected a non-negative integer, found 1.0"},
    {one_tensor(R"("dtype":"F32","shape":[1e400],"data_offsets":[0,4])", 4),
     "model.safetensors: header: not valid JSON: number overflow parsing '1e400'"},
    {one_tensor(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': field 'shape[0]': expected a non-negative integer, found 1e+20"},
    {one_tensor(R"("dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': [4294967296, 4294967296, 4294967296] of f32 is more bytes than 64 bits can count, "
     "but data_offsets give it 4"},
    {one_tensor(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])", 0),
     "model.safetensors: tensor 'x': [4611686018427387904] of f32 is more bytes than 64 bits can count, but "
     "data_offsets give it 0"},
    {one_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", 4),
     "model.safetensors: tensor 'x': [2] of f32 is 8 bytes, but data_offsets give it 4"},
    {one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])", 4),
     "model.safetensors: tensor 'x': field 'data_offsets': expected two offsets, the begin and the end, found an array "
     "of 1"},
    {one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", 4),
     "model.safetensors: tensor 'x': field 'data_offsets': expected two offsets, the begin and the end, found an array "
     "of 2"},
    {one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])", 8),
     "model.safetensors: tensor 'x': expected its data at offset 0, found 4: tensors must neither overlap nor leave "
     "holes"},
    {one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 5),
     "model.safetensors: expected 4 bytes of data, as its tensors have, found 5"},
    {one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 3),
     "model.safetensors: tensor 'x': its data end at byte 4, but the file holds only 3 bytes of data: it was cut "
     "short, copy it again"},
    {one_tensor(R"("dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000])", 3),
     "model.safetensors: tensor 'x': its data end at byte 4000000000000, but the file holds only 3 bytes of data: it "
     "was cut short, copy it again"},
    {one_tensor(R"("dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807])", 3),
     "model.safetensors: tensor 'x': its data end at byte 9223372036854775807, but the file holds only 3 bytes of "
     "data: it was cut short, copy it again"},
    {safetensors(
         R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
         "abc"),
     "model.safetensors: tensor 'y': expected its data at offset 2, found 1: tensors must neither overlap nor leave "
     "holes"},
    {safetensors(
         R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
         "abc"),
     "model.safetensors: tensor 'y': expected its data at offset 1, found 2: tensors must neither overlap nor leave "
     "holes"},
    {safetensors("{\"x\":{\"dtype\":\"U8\",\"shape\":[" + std::string(200, '[') + "]}}"),
     "model.safetensors: header: expected arrays and objects at most 64 deep inside each other"},
    {safetensors("{\"" + std::string(200, 'x') + "\\n\":{\"dtype\":\"C64\",\"shape\":[],\"data_offsets\":[0,8]}}",
                 "01234567"),
     "model.safetensors: tensor "
     "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxx...': the element type 'C64' is not supported: expected one of BOOL, U8, I8, F8_E4M3, U16, I16, F16, "
     "BF16, U32, "
     "I32, F32, U64, I64, F64; save it as one of these"},
    {one_tensor(
         R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1])",
         1),
     "model.safetensors: tensor 'x': field 'shape': expected at most 64 extents, found an array of 65"}};

struct BrokenIndex {
  std::string index;
  std::string a, b;  // the shards; none if empty
  std::string message;
};

const std::vector<BrokenIndex> indexes = {
    {"{", "", "",
     "model.safetensors.index.json: not valid JSON at line 1, column 2: syntax error while parsing object key - "
     "unexpected end of input; expected string literal"},
    {"{}", "", "", "model.safetensors.index.json: field 'weight_map': expected an object, but it is missing"},
    {R"({"weight_map":[]})", "", "",
     "model.safetensors.index.json: field 'weight_map': expected an object, found an array of 0"},
    {R"({"weight_map":{"x":3}})", "", "",
     "model.safetensors.index.json: field 'weight_map.x': expected a string, found 3"},
    {index_of(R"("x":"../a.safetensors")"), floats("x", 2), "",
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "../a.safetensors")"},
    {index_of(R"("x":"/etc/passwd")"), "", "",
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "/etc/passwd")"},
    {index_of(R"("x":"..")"), "", "",
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "..")"},
    {index_of(R"("x":"")"), "", "",
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "")"},
    {index_of(R"("x":"a\u0000.safetensors")"), "", "",
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "a\u0000.safetensors")"},
    {index_of(R"("x":"a.safetensors")"), "", "",
     "model.safetensors.index.json: the shard 'a.safetensors' is missing: download it again"},
    {index_of(R"("x":"model.safetensors.index.json")"), "", "",
     "model.safetensors.index.json: expected a header of at most 71 bytes, found the length 7017841271895827067: this "
     "is not a safetensors file"},
    {index_of(R"("x":"a.safetensors","x":"b.safetensors")"), "", "",
     "model.safetensors.index.json: the key 'x' occurs twice in one object"},
    {index_of(R"("x":"a.safetensors","y":"a.safetensors")"), floats("x", 2), "",
     "model.safetensors.index.json: tensor 'y': expected it in a.safetensors, found it in no shard"},
    {index_of(R"("x":"a.safetensors","y":"b.safetensors")"), floats("y", 2), floats("x", 2),
     "model.safetensors.index.json: tensor 'x': expected it in a.safetensors, found it in b.safetensors"},
    {index_of(R"("x":"a.safetensors","y":"b.safetensors")"), floats("x", 2), floats("x", 2),
     "b.safetensors: tensor 'x': it is also in a.safetensors"},
    {index_of(R"("x":"a.safetensors")"),
     safetensors(
         R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
         "ab"),
     "", "a.safetensors: tensor 'y': it is not named in model.safetensors.index.json"},
    {index_of(R"("x":"a.safetensors")", "9"), floats("x", 2), "",
     "model.safetensors.index.json: field 'metadata.total_size': expected 8, the bytes of all tensors, found 9"},
    {index_of(R"("x":"a.safetensors")", "\"8\""), floats("x", 2), "",
     R"(model.safetensors.index.json: field 'metadata.total_size': expected a number, found "8")"},
    {index_of(R"("x":"a.safetensors")"), std::string(floats("x", 2), 0, 60), "",
     "a.safetensors: expected a header of at most 52 bytes, found the length 54: the file was cut short, copy it "
     "again"}};

const std::vector<BrokenFile> documents = {
    {"",
     "config.json: not valid JSON at line 1, column 1: syntax error while parsing value - unexpected end of input; "
     "expected '[', '{', or a literal"},
    {" ",
     "config.json: not valid JSON at line 1, column 2: syntax error while parsing value - unexpected end of input; "
     "expected '[', '{', or a literal"},
    {"nul", "config.json: not valid JSON at line 1, column 4: syntax error while parsing value - invalid literal"},
    {"{",
     "config.json: not valid JSON at line 1, column 2: syntax error while parsing object key - unexpected end of "
     "input; expected string literal"},
    {"{}}",
     "config.json: not valid JSON at line 1, column 3: syntax error while parsing value - unexpected '}'; expected end "
     "of input"},
    {"{\"a\": 1,}",
     "config.json: not valid JSON at line 1, column 9: syntax error while parsing object key - unexpected '}'; "
     "expected string literal"},
    {"{'a': 1}",
     "config.json: not valid JSON at line 1, column 2: syntax error while parsing object key - invalid literal; "
     "expected string literal"},
    {"// a\n{}", "config.json: not valid JSON at line 1, column 1: syntax error while parsing value - invalid literal"},
    {"{\"a\": NaN}",
     "config.json: not valid JSON at line 1, column 7: syntax error while parsing value - invalid literal"},
    {"{\"a\": -Infinity}",
     "config.json: not valid JSON at line 1, column 8: syntax error while parsing value - invalid number; expected "
     "digit after '-'"},
    {"{\"a\": 1e999}", "config.json: not valid JSON: number overflow parsing '1e999'"},
    {"{\"a\": 01}",
     "config.json: not valid JSON at line 1, column 8: syntax error while parsing object - unexpected number literal; "
     "expected '}'"},
    {"{\"a\": \"\xff\"}",
     "config.json: not valid JSON at line 1, column 8: syntax error while parsing value - invalid string: ill-formed "
     "UTF-8 byte"},
    {"{\"a\": \"\\ud800\"}",
     "config.json: not valid JSON at line 1, column 14: syntax error while parsing value - invalid string: surrogate "
     "U+D800..U+DBFF must be followed by U+DC00..U+DFFF"},
    {"{\"a\": \"tab\there\"}",
     R"(config.json: not valid JSON at line 1, column 11: syntax error while parsing value - invalid string: control character U+0009 (HT) must be escaped to \u0009 or \t)"},
    {std::string("{}\0", 3), "config.json: not valid JSON: a zero byte at offset 2"},
    {"{\"a\": 1, \"b\": {\"a\": 2, \"a\": 3}}", "config.json: the key 'a' occurs twice in one object"},
    {"[]", "config.json: expected a JSON object, found an array of 0"},
    {"3", "config.json: expected a JSON object, found 3"},
    {"{\n\n  \"a\" 1}",
     "config.json: not valid JSON at line 3, column 7: syntax error while parsing object separator - unexpected number "
     "literal; expected ':'"},
    {"{\"" + std::string(1000, 'x'),
     "config.json: not valid JSON at line 1, column 1003: syntax error while parsing object key - invalid string: "
     "missing closing quote; expected string literal"},
    {std::string(100000, '{'),
     "config.json: not valid JSON at line 1, column 2: syntax error while parsing object key - unexpected '{'; "
     "expected string literal"},
    {"{\"a\":" + std::string(100000, '['),
     "config.json: expected arrays and objects at most 64 deep inside each other"}};

void check_refused(const TemporaryDirectory& directory, const std::string& message) {
  const auto [kind, found] = error_of([&] { Checkpoint::open(directory.path()); }, directory.path());
  CHECK(found == message);
  CHECK(kind == ErrorKind::checkpoint);
}

}  // namespace

TEST_CASE("a broken safetensors file is refused in words") {
  for (const auto& [bytes, message] : files) {
    const TemporaryDirectory directory;
    directory.write("model.safetensors", bytes);
    check_refused(directory, message);
  }
}

TEST_CASE("a broken index or shard is refused in words") {
  for (const auto& [index, a, b, message] : indexes) {
    const TemporaryDirectory directory;
    directory.write("model.safetensors.index.json", index);
    if (!a.empty()) directory.write("a.safetensors", a);
    if (!b.empty()) directory.write("b.safetensors", b);
    check_refused(directory, message);
  }
}

TEST_CASE("a directory without a checkpoint is refused in words") {
  const TemporaryDirectory directory;
  check_refused(directory,
                "DIRECTORY: expected model.safetensors or model.safetensors.index.json in it, found neither");
  const auto open = [&](const std::string& name) {
    return error_of([&] { Checkpoint::open(directory / name); }, directory.path());
  };
  directory.write("file", "x");
  CHECK(open("file").first == ErrorKind::io);
  CHECK(open("file").second == "file: expected a checkpoint directory, found a file: name the directory it is in");
  CHECK(open("absent").second == "absent: expected a checkpoint directory, found nothing there");
}

TEST_CASE("a broken JSON document is refused in words") {
  for (const auto& document : documents) {
    const auto [kind, found] = error_of([&] { Fields::parse(document.bytes, "config.json"); });
    CHECK(found == document.message);
    CHECK(kind == ErrorKind::checkpoint);
  }
}
