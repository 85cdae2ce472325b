// Every way a file can be wrong, with the whole message that a user gets. The files are tiny and the numbers in them
// huge: an allocation from such a number would end the test.
#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "nervus/array_file.h"
#include "support.h"

using namespace nervus;
using namespace nervus::test;

namespace {

struct Broken {
  std::map<std::string, std::string> files;
  std::string message;
};

// {"x": <entry>} and so many bytes of data.
std::string one_tensor(const std::string& entry, std::size_t data_bytes) {
  return safetensors("{\"x\":{" + entry + "}}", std::string(data_bytes, '\1'));
}

std::string floats(const std::string& name, int count) {
  return safetensors("{\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(count) +
                         "],\"data_offsets\":[0," + std::to_string(4 * count) + "]}}",
                     std::string(4 * count, '\0'));
}

std::string npy(const std::string& header, const std::string& data, const std::string& version = "\1") {
  return "\x93NUMPY" + version + std::string(1, '\0') + bytes_of(static_cast<std::uint16_t>(header.size())) + header +
         data;
}

using Entries = std::vector<std::pair<std::string, std::string>>;

// A zip archive of stored entries; `method` and `claimed` bytes go into the central directory.
std::string zip(const Entries& entries, std::uint16_t method = 0, std::uint32_t claimed = 0) {
  std::string archive, directory;
  const auto word = [](std::uint16_t value) { return bytes_of(value); };
  for (const auto& [name, content] : entries) {
    const auto offset = static_cast<std::uint32_t>(archive.size());
    const auto bytes = claimed != 0 ? claimed : static_cast<std::uint32_t>(content.size());
    archive +=
        "PK\3\4" + std::string(22, '\0') + word(static_cast<std::uint16_t>(name.size())) + word(0) + name + content;
    directory += "PK\1\2" + std::string(6, '\0') + word(method) + std::string(8, '\0') + bytes_of(bytes) +
                 bytes_of(bytes) + word(static_cast<std::uint16_t>(name.size())) + std::string(12, '\0') +
                 bytes_of(offset) + name;
  }
  const auto begin = static_cast<std::uint32_t>(archive.size()), size = static_cast<std::uint32_t>(directory.size());
  return archive + directory + "PK\5\6" + std::string(8, '\0') + bytes_of(size) + bytes_of(begin) + word(0);
}

std::string text(const std::string& value) { return "X" + bytes_of(static_cast<std::uint32_t>(value.size())) + value; }
std::string number(std::int32_t value) { return "J" + bytes_of(value); }

// The pickle of a tensor, parts of which may be replaced.
struct Pickle {
  std::string storage = "torch\nFloatStorage\n";
  std::int32_t elements = 6;
  std::int32_t offset = 0;
  std::string shape = number(2) + number(3) + "\x86";
  std::string strides = number(3) + number(1) + "\x86";
  std::string function = "ctorch._utils\n_rebuild_tensor_v2\n";

  operator std::string() const {
    return "\x80\2" + function + "((" + text("storage") + "c" + storage + text("0") + text("cpu") + number(elements) +
           "tQ" + number(offset) + shape + strides + "\x89" + "ccollections\nOrderedDict\n)RtR.";
  }
};

std::string pt(const std::string& pickle) {
  return zip({{"a/data.pkl", pickle}, {"a/byteorder", "little"}, {"a/data/0", std::string(24, '\0')}});
}

std::string index_of(const std::string& weight_map, const std::string& total = "8") {
  return R"({"metadata":{"total_size":)" + total + R"(},"weight_map":{)" + weight_map + "}}";
}

const std::vector<Broken> checkpoints = {
    {{}, "DIRECTORY: expected model.safetensors or model.safetensors.index.json in it, found neither"},
    {{{"model.safetensors", ""}}, "model.safetensors: expected a safetensors file, found only 0 bytes"},
    {{{"model.safetensors", std::string("\x10\0\0", 3)}},
     "model.safetensors: expected a safetensors file, found only 3 bytes"},
    {{{"model.safetensors", bytes_of(std::uint64_t{0xffffffffffffffff}) + "{}"}},
     "model.safetensors: expected a header of at most 2 bytes, found the length 18446744073709551615: this is not a "
     "safetensors file"},
    {{{"model.safetensors", bytes_of(std::uint64_t{100'000'001}) + "{}"}},
     "model.safetensors: expected a header of at most 2 bytes, found the length 100000001: this is not a safetensors "
     "file"},
    {{{"model.safetensors", bytes_of(std::uint64_t{99'999'999}) + "{}"}},
     "model.safetensors: expected a header of at most 2 bytes, found the length 99999999: the file was cut short, copy "
     "it again"},
    {{{"model.safetensors", safetensors("")}}, "model.safetensors: expected the header to begin with '{'"},
    {{{"model.safetensors", safetensors(" {}")}}, "model.safetensors: expected the header to begin with '{'"},
    {{{"model.safetensors", safetensors("{}\n")}},
     "model.safetensors: expected the header to end with '}' and spaces only"},
    {{{"model.safetensors", safetensors("{} x")}},
     "model.safetensors: expected the header to end with '}' and spaces only"},
    {{{"model.safetensors", safetensors(std::string("{}\0 }", 5))}},
     "model.safetensors: header: not valid JSON: a zero byte at offset 2"},
    {{{"model.safetensors", safetensors("{\"x\":}")}},
     "model.safetensors: header: not valid JSON at line 1, column 6: syntax error while parsing value - unexpected "
     "'}'; expected '[', '{', or a literal"},
    {{{"model.safetensors", safetensors("[]")}}, "model.safetensors: expected the header to begin with '{'"},
    {{{"model.safetensors", safetensors("{\"x\":3}")}},
     "model.safetensors: header: field 'x': expected an object that describes a tensor, found 3"},
    {{{"model.safetensors", safetensors("{} {}")}},
     "model.safetensors: header: not valid JSON at line 1, column 4: syntax error while parsing value - unexpected "
     "'{'; expected end of input"},
    {{{"model.safetensors", safetensors("{\"__metadata__\":{\"format\":3}}")}},
     "model.safetensors: header: field '__metadata__.format': expected a string, found 3"},
    {{{"model.safetensors", safetensors("{\"__metadata__\":[]}")}},
     "model.safetensors: header: field '__metadata__': expected an object, found an array of 0"},
    {{{"model.safetensors",
       safetensors(
           R"({"x":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[],"data_offsets":[1,2]}})",
           "ab")}},
     "model.safetensors: header: the key 'x' occurs twice in one object"},
    {{{"model.safetensors", one_tensor(R"("shape":[1],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': field 'dtype': expected a string, but it is missing"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': field 'shape': expected an array, each a non-negative integer, but it is missing"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1])", 4)}},
     "model.safetensors: tensor 'x': field 'data_offsets': expected an array, each a non-negative integer, but it is "
     "missing"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': the element type 'F8_E4M3' is not supported: expected one of BOOL, U8, I8, U16, "
     "I16, F16, BF16, U32, I32, F32, U64, I64, F64; save it as one of these"},
    {{{"model.safetensors", one_tensor(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': the element type 'f32' is not supported: expected one of BOOL, U8, I8, U16, I16, "
     "F16, BF16, U32, I32, F32, U64, I64, F64; save it as one of these"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1])", 4)}},
     "model.safetensors: tensor 'x': expected only dtype, shape and data_offsets, found 'strides'"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': field 'shape[0]': expected a non-negative integer, found -1"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': field 'shape[0]': expected a non-negative integer, found 1.0"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1e400],"data_offsets":[0,4])", 4)}},
     "model.safetensors: header: not valid JSON: number overflow parsing '1e400'"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': field 'shape[0]': expected a non-negative integer, found 1e+20"},
    {{{"model.safetensors",
       one_tensor(R"("dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': [4294967296, 4294967296, 4294967296] of f32 is more bytes than 64 bits can count, "
     "but data_offsets give it 4"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])", 0)}},
     "model.safetensors: tensor 'x': [4611686018427387904] of f32 is more bytes than 64 bits can count, but "
     "data_offsets give it 0"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", 4)}},
     "model.safetensors: tensor 'x': [2] of f32 is 8 bytes, but data_offsets give it 4"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])", 4)}},
     "model.safetensors: tensor 'x': field 'data_offsets': expected two offsets, the begin and the end, found an array "
     "of 1"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", 4)}},
     "model.safetensors: tensor 'x': field 'data_offsets': expected two offsets, the begin and the end, found an array "
     "of 2"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])", 8)}},
     "model.safetensors: tensor 'x': expected its data at offset 0, found 4: tensors must neither overlap nor leave "
     "holes"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 5)}},
     "model.safetensors: expected 4 bytes of data, as its tensors have, found 5"},
    {{{"model.safetensors", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 3)}},
     "model.safetensors: tensor 'x': its data end at byte 4, but the file holds only 3 bytes of data: it was cut "
     "short, copy it again"},
    {{{"model.safetensors",
       one_tensor(R"("dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000])", 3)}},
     "model.safetensors: tensor 'x': its data end at byte 4000000000000, but the file holds only 3 bytes of data: it "
     "was cut short, copy it again"},
    {{{"model.safetensors",
       one_tensor(R"("dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807])", 3)}},
     "model.safetensors: tensor 'x': its data end at byte 9223372036854775807, but the file holds only 3 bytes of "
     "data: it was cut short, copy it again"},
    {{{"model.safetensors",
       safetensors(
           R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           "abc")}},
     "model.safetensors: tensor 'y': expected its data at offset 2, found 1: tensors must neither overlap nor leave "
     "holes"},
    {{{"model.safetensors",
       safetensors(
           R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
           "abc")}},
     "model.safetensors: tensor 'y': expected its data at offset 1, found 2: tensors must neither overlap nor leave "
     "holes"},
    {{{"model.safetensors", safetensors("{\"x\":{\"dtype\":\"U8\",\"shape\":[" + std::string(200, '[') + "]}}")}},
     "model.safetensors: header: expected arrays and objects at most 64 deep inside each other"},
    {{{"model.safetensors",
       safetensors("{\"" + std::string(200, 'x') + "\\n\":{\"dtype\":\"C64\",\"shape\":[],\"data_offsets\":[0,8]}}",
                   "01234567")}},
     "model.safetensors: tensor "
     "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxx...': the element type 'C64' is not supported: expected one of BOOL, U8, I8, U16, I16, F16, BF16, U32, "
     "I32, F32, U64, I64, F64; save it as one of these"},
    {{{"model.safetensors",
       one_tensor(
           R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1])",
           1)}},
     "model.safetensors: tensor 'x': field 'shape': expected at most 64 extents, found an array of 65"},
    {{{"model.safetensors.index.json", "{"}},
     "model.safetensors.index.json: not valid JSON at line 1, column 2: syntax error while parsing object key - "
     "unexpected end of input; expected string literal"},
    {{{"model.safetensors.index.json", "{}"}},
     "model.safetensors.index.json: field 'weight_map': expected an object, but it is missing"},
    {{{"model.safetensors.index.json", R"({"weight_map":[]})"}},
     "model.safetensors.index.json: field 'weight_map': expected an object, found an array of 0"},
    {{{"model.safetensors.index.json", R"({"weight_map":{"x":3}})"}},
     "model.safetensors.index.json: field 'weight_map.x': expected a string, found 3"},
    {{{"model.safetensors.index.json", index_of(R"("x":"../a.safetensors")")}, {"a.safetensors", floats("x", 2)}},
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "../a.safetensors")"},
    {{{"model.safetensors.index.json", index_of(R"("x":"/etc/passwd")")}},
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "/etc/passwd")"},
    {{{"model.safetensors.index.json", index_of(R"("x":"..")")}},
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "..")"},
    {{{"model.safetensors.index.json", index_of(R"("x":"")")}},
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "")"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a\u0000.safetensors")")}},
     R"(model.safetensors.index.json: field 'weight_map.x': expected the plain name of a file in the same directory, found "a\u0000.safetensors")"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors")")}},
     "model.safetensors.index.json: the shard 'a.safetensors' is missing: download it again"},
    {{{"model.safetensors.index.json", index_of(R"("x":"model.safetensors.index.json")")}},
     "model.safetensors.index.json: expected a header of at most 71 bytes, found the length 7017841271895827067: this "
     "is not a safetensors file"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors","x":"b.safetensors")")}},
     "model.safetensors.index.json: the key 'x' occurs twice in one object"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors","y":"a.safetensors")")},
      {"a.safetensors", floats("x", 2)}},
     "model.safetensors.index.json: tensor 'y': expected it in a.safetensors, found it in no shard"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors","y":"b.safetensors")")},
      {"a.safetensors", floats("y", 2)},
      {"b.safetensors", floats("x", 2)}},
     "model.safetensors.index.json: tensor 'x': expected it in a.safetensors, found it in b.safetensors"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors","y":"b.safetensors")")},
      {"a.safetensors", floats("x", 2)},
      {"b.safetensors", floats("x", 2)}},
     "b.safetensors: tensor 'x': it is also in a.safetensors"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors")")},
      {"a.safetensors",
       safetensors(
           R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           "ab")}},
     "a.safetensors: tensor 'y': it is not named in model.safetensors.index.json"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors")", "9")}, {"a.safetensors", floats("x", 2)}},
     "model.safetensors.index.json: field 'metadata.total_size': expected 8, the bytes of all tensors, found 9"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors")", "\"8\"")}, {"a.safetensors", floats("x", 2)}},
     R"(model.safetensors.index.json: field 'metadata.total_size': expected a number, found "8")"},
    {{{"model.safetensors.index.json", index_of(R"("x":"a.safetensors")")},
      {"a.safetensors", std::string(floats("x", 2), 0, 60)}},
     "a.safetensors: expected a header of at most 52 bytes, found the length 54: the file was cut short, copy it "
     "again"}};

const std::vector<Broken> arrays = {
    {{{"a.txt", "x"}}, "a.txt: expected a .safetensors, .npy or .pt file, or a directory of them"},
    {{{"a.safetensors", "x"}}, "a.safetensors: expected a safetensors file, found only 1 byte"},
    {{{"a.npy", ""}}, "a.npy: expected a .npy file, found another kind of file"},
    {{{"a.npy", "\x93NUMPY"}}, "a.npy: expected version 1, 2 or 3 of .npy, found 0"},
    {{{"a.npy", npy("{}", "", "\4")}}, "a.npy: expected version 1, 2 or 3 of .npy, found 4"},
    {{{"a.npy", std::string("\x93NUMPY\2\0\xff\xff\xff\xff{}", 14)}},
     "a.npy: its header claims 4294967295 bytes, but the file has 14"},
    {{{"a.npy", npy("{'descr': '<f4'", "")}},
     "a.npy: header: not valid JSON at line 1, column 16: syntax error while parsing object - unexpected end of input; "
     "expected '}'"},
    {{{"a.npy", npy("{}", "")}}, "a.npy: header: field 'descr': expected a string, but it is missing"},
    {{{"a.npy", npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0'))}},
     "a.npy: the element type '>f4' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {{{"a.npy", npy("{'descr': '<V2', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0'))}},
     "a.npy: the element type '<V2' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {{{"a.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0'))}},
     "a.npy: the element type '|O' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, <u8, "
     "<i8, <f8; save it as one of these"},
    {{{"a.npy", npy("{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0'))}},
     "a.npy: the element type '<c8' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {{{"a.npy", npy("{'descr': '<U5', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0'))}},
     "a.npy: the element type '<U5' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {{{"a.npy", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "12345678")}},
     "a.npy: header: field 'descr': expected a string, found an array of 1"},
    {{{"a.npy", npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,), }", "12345678")}},
     "a.npy: header: not valid JSON at line 1, column 11: syntax error while parsing value - invalid literal"},
    {{{"a.npy", npy("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", "12345678")}},
     "a.npy: header: the key 'descr' occurs twice in one object"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", std::string(8, '\0'))}},
     "a.npy: header: field 'fortran_order': expected true or false, found 0"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", std::string(8, '\0'))}},
     "a.npy: header: field 'shape[0]': expected a non-negative integer, found -2"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", std::string(8, '\0'))}},
     "a.npy: header: field 'shape': expected an array, each a non-negative integer, found 2"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,), }", std::string(8, '\0'))}},
     "a.npy: header: field 'shape[0]': expected a non-negative integer, found 2.0"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", std::string(7, '\0'))}},
     "a.npy: expected the data of [2] f32, found 7 bytes"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", std::string(9, '\0'))}},
     "a.npy: expected the data of [2] f32, found 9 bytes"},
    {{{"a.npy",
       npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", std::string(8, '\0'))}},
     "a.npy: expected the data of [4294967296, 4294967296] f32, found 8 bytes"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", std::string(8, '\0'))}},
     "a.npy: expected the data of [1000000000000] f32, found 8 bytes"},
    {{{"a.npy",
       npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", std::string(8, '\0'))}},
     "a.npy: header: field 'shape[0]': expected a non-negative integer, found 1e+20"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': "
                    "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
                    "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1), }",
                    std::string(4, '\0'))}},
     "a.npy: header: field 'shape': expected at most 64 extents, found an array of 65"},
    {{{"a.pt", ""}}, "a.pt: expected a tensor saved by torch.save, found another kind of file"},
    {{{"a.pt", "GIF89a"}}, "a.pt: expected a tensor saved by torch.save, found another kind of file"},
    {{{"a.pt", read_bytes(NERVUS_SOURCE_DIR "/tests/checkpoint/data/legacy.pt")}},
     "a.pt: a pickle in the format before PyTorch 1.6: load it and save it again with torch.save"},
    {{{"a.pt", "PK\3\4 and no more"}}, "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {{{"a.pt", "PK\3\4PK\5\6" + std::string(6, '\0')}},
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {{{"a.pt", "PK\3\4PK\5\6" + std::string(8, '\0') + std::string(8, '\xff')}},
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {{{"a.pt", read_bytes(NERVUS_SOURCE_DIR "/tests/checkpoint/data/f32.pt").substr(0, 1000)}},
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {{{"a.pt", zip({{"a/data.pkl", "."}}, 8)}},
     "a.pt: the entry 'a/data.pkl' is compressed or encrypted: expected stored entries, as torch.save writes them"},
    {{{"a.pt", zip({{"a/data.pkl", "."}}, 0, 0xfffffff0)}},
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {{{"a.pt", zip({{"a/data.pkl", "."}, {"a/data.pkl", "."}})}},
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {{{"a.pt", zip({{"a/b/data.pkl", "."}})}},
     "a.pt: expected a tensor saved by torch.save, found a zip archive without data.pkl"},
    {{{"a.pt", zip({{"a/data.pkl", Pickle()}, {"a/byteorder", "big"}})}},
     "a.pt: its bytes are in big-endian order: save it on a little-endian machine"},
    {{{"a.pt", zip({{"a/data.pkl", std::string(20000, '(')}})}},
     "a.pt: expected a pickle of at most 16384 bytes, found 20000: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", zip({{"a/data.pkl", Pickle()}})}}, "a.pt: its storage '0' is missing"},
    {{{"a.pt", read_bytes(NERVUS_SOURCE_DIR "/tests/checkpoint/data/dictionary.pt")}},
     "a.pt: the pickle's opcode 125 at byte 2 is not one that a tensor needs: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", read_bytes(NERVUS_SOURCE_DIR "/tests/checkpoint/data/parameter.pt")}},
     "a.pt: its pickle names 'torch._utils._rebuild_parameter': save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", read_bytes(NERVUS_SOURCE_DIR "/tests/checkpoint/data/expanded.pt")}},
     "a.pt: a tensor [1000, 1000] with strides [0, 0] at offset 0 does not fit a storage of 1 element: save "
     "tensor.contiguous()"},
    {{{"a.pt", pt("")}},
     "a.pt: the pickle, byte 0: expected more bytes: save one plain tensor, torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(".")}},
     "a.pt: the pickle, byte 1: expected a value on the stack: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt("(.")}},
     "a.pt: the pickle, byte 2: expected a tensor at its end: save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {{{"a.pt", pt("cos\nsystem\n(" + text("id") + "tR.")}},
     "a.pt: its pickle names 'os.system': save one plain tensor, torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt("c")}},
     "a.pt: the pickle, byte 1: expected the end of a line: save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {{{"a.pt", pt("cposix\nsystem")}},
     "a.pt: the pickle, byte 7: expected the end of a line: save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {{{"a.pt", pt("X\xff\xff\xff\xff"
                  "a")}},
     "a.pt: the pickle, byte 5: expected more bytes: save one plain tensor, torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt("t")}},
     "a.pt: the pickle, byte 1: expected a mark on the stack: save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {{{"a.pt", pt("h\7")}},
     "a.pt: the pickle, byte 2: expected a value in the memo: save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {{{"a.pt", pt("q\1")}},
     "a.pt: the pickle, byte 2: expected a value on the stack: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(")R")}},
     "a.pt: the pickle, byte 2: expected a value on the stack: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(")Q")}},
     "a.pt: the pickle, byte 2: expected a storage: save one plain tensor, torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(")" + std::string(5, '\x85'))}},
     "a.pt: the pickle, byte 4: expected tuples at most two deep inside each other: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(Pickle{.storage = "torch\nComplexFloatStorage\n"})}},
     "a.pt: its pickle names 'torch.ComplexFloatStorage': save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {{{"a.pt", pt(Pickle{.storage = "collections\nOrderedDict\n"})}},
     "a.pt: the pickle, byte 95: expected a storage: save one plain tensor, torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(Pickle{.elements = 7})}}, "a.pt: expected 7 f32 in its storage, found 24 bytes"},
    {{{"a.pt", pt(Pickle{.elements = -1})}}, "a.pt: expected -1 f32 in its storage, found 24 bytes"},
    {{{"a.pt", pt(Pickle{.elements = 0x7fffffff})}}, "a.pt: expected 2147483647 f32 in its storage, found 24 bytes"},
    {{{"a.pt", pt(Pickle{.offset = 1})}},
     "a.pt: a tensor [2, 3] with strides [3, 1] at offset 1 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {{{"a.pt", pt(Pickle{.offset = -1})}},
     "a.pt: a tensor [2, 3] with strides [3, 1] at offset -1 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {{{"a.pt", pt(Pickle{.shape = number(3) + number(3) + "\x86"})}},
     "a.pt: a tensor [3, 3] with strides [3, 1] at offset 0 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {{{"a.pt", pt(Pickle{.shape = number(6) + "\x85"})}},
     "a.pt: a tensor [6] with strides [3, 1] at offset 0 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {{{"a.pt", pt(Pickle{.shape = number(-2) + number(-3) + "\x86"})}},
     "a.pt: the pickle, byte 147: expected shape and strides of integers from 0 on: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(Pickle{.shape = number(0x7fffffff) + number(0x7fffffff) + "\x86"})}},
     "a.pt: a tensor [2147483647, 2147483647] with strides [3, 1] at offset 0 does not fit a storage of 6 elements: "
     "save tensor.contiguous()"},
    {{{"a.pt", pt(Pickle{.strides = number(0x7fffffff) + number(0x7fffffff) + "\x86"})}},
     "a.pt: a tensor [2, 3] with strides [2147483647, 2147483647] at offset 0 does not fit a storage of 6 elements: "
     "save tensor.contiguous()"},
    {{{"a.pt", pt(Pickle{.strides = number(-3) + number(1) + "\x86"})}},
     "a.pt: the pickle, byte 147: expected shape and strides of integers from 0 on: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(Pickle{.strides = number(0) + text("1") + "\x86"})}},
     "a.pt: the pickle, byte 148: expected shape and strides of integers from 0 on: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(Pickle{.function = "ccollections\nOrderedDict\n"})}},
     "a.pt: the pickle, byte 139: expected the arguments of a tensor: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(Pickle{.function = text("torch._utils._rebuild_tensor_v2")})}},
     "a.pt: the pickle, byte 150: expected a function: save one plain tensor, torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt(Pickle{.shape = "(" + std::string(65, ')') + "t"})}},
     "a.pt: the pickle, byte 203: expected a shape of at most 64 extents: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.pt", pt("\x88" + std::string(Pickle()))}},
     "a.pt: the pickle, byte 149: expected a tensor at its end: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {{{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "1234")},
      {"b.safetensors", floats("a", 2)}},
     "b.safetensors: 'a' is also in a.npy"},
    {{{"a.txt", "x"}, {"b.txt", "x"}}, "DIRECTORY: expected .safetensors, .npy or .pt files in it, found none"}};

const std::vector<std::pair<std::string, std::string>> documents = {
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

}  // namespace

TEST_CASE("a broken checkpoint is refused in words") {
  for (const auto& [files, message] : checkpoints) {
    const TemporaryDirectory directory;
    for (const auto& [name, bytes] : files) directory.write(name, bytes);
    const auto [kind, found] = error_of([&] { Checkpoint::open(directory.path()); }, directory.path());
    CHECK(found == message);
    CHECK((kind == ErrorKind::checkpoint || kind == ErrorKind::io));
  }
}

TEST_CASE("a broken file of arrays is refused in words") {
  for (const auto& [files, message] : arrays) {
    const TemporaryDirectory directory;
    for (const auto& [name, bytes] : files) directory.write(name, bytes);
    const auto path = files.size() == 1 ? directory / files.begin()->first : directory.path();
    const auto [kind, found] = error_of([&] { read_arrays(path); }, directory.path());
    CHECK(found == message);
    CHECK(kind == ErrorKind::input);
  }
}

TEST_CASE("a broken JSON document is refused in words") {
  for (const auto& [bytes, message] : documents) {
    const auto [kind, found] = error_of([&, &bytes = bytes] { Fields::parse(bytes, "config.json"); });
    CHECK(found == message);
    CHECK(kind == ErrorKind::checkpoint);
  }
}
