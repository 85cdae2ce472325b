// Every way a file of arrays can be wrong, with the whole message that a user gets. The files are tiny and the numbers
// in them huge: an allocation from such a number would end the test.
#include <doctest/doctest.h>

#include <vector>

#include "nervus/array_file.h"
#include "support.h"

using namespace nervus;
using namespace nervus::test;

namespace {

std::string data(const std::string& name) { return read_bytes(NERVUS_SOURCE_DIR "/tests/checkpoint/data/" + name); }

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
  std::string key = text("0");
  std::int32_t elements = 6;
  std::int32_t offset = 0;
  std::string shape = number(2) + number(3) + "\x86";
  std::string strides = number(3) + number(1) + "\x86";
  std::string function = "ctorch._utils\n_rebuild_tensor_v2\n";
  std::string end = "R.";

  operator std::string() const {
    return "\x80\2" + function + "((" + text("storage") + "c" + storage + key + text("cpu") + number(elements) + "tQ" +
           number(offset) + shape + strides + "\x89" + "ccollections\nOrderedDict\n)Rt" + end;
  }
};

std::string pt(const std::string& pickle) {
  return zip({{"a/data.pkl", pickle}, {"a/byteorder", "little"}, {"a/data/0", std::string(24, '\0')}});
}

struct BrokenFile {
  std::string name;
  std::string bytes;
  std::string message;
};

const std::vector<BrokenFile> files = {
    {"a.txt", "x", "a.txt: expected a .safetensors, .npy or .pt file, or a directory of them"},
    {"a.safetensors", "x", "a.safetensors: expected a safetensors file, found only 1 byte"},
    {"a.npy", "", "a.npy: expected a .npy file, found another kind of file"},
    {"a.npy", "\x93NUMPY", "a.npy: expected version 1, 2 or 3 of .npy, found 0"},
    {"a.npy", npy("{}", "", "\4"), "a.npy: expected version 1, 2 or 3 of .npy, found 4"},
    {"a.npy", std::string("\x93NUMPY\2\0\xff\xff\xff\xff{}", 14),
     "a.npy: its header claims 4294967295 bytes, but the file has 14"},
    {"a.npy", npy("{'descr': '<f4'", ""),
     "a.npy: header: not valid JSON at line 1, column 16: syntax error while parsing object - unexpected end of input; "
     "expected '}'"},
    {"a.npy", npy("{}", ""), "a.npy: header: field 'descr': expected a string, but it is missing"},
    {"a.npy", npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0')),
     "a.npy: the element type '>f4' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {"a.npy", npy("{'descr': '<V2', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0')),
     "a.npy: the element type '<V2' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {"a.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0')),
     "a.npy: the element type '|O' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, <u8, "
     "<i8, <f8; save it as one of these"},
    {"a.npy", npy("{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0')),
     "a.npy: the element type '<c8' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {"a.npy", npy("{'descr': '<U5', 'fortran_order': False, 'shape': (2,), }", std::string(8, '\0')),
     "a.npy: the element type '<U5' is not supported: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, "
     "<u8, <i8, <f8; save it as one of these"},
    {"a.npy", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "12345678"),
     "a.npy: header: field 'descr': expected a string, found an array of 1"},
    {"a.npy", npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,), }", "12345678"),
     "a.npy: header: not valid JSON at line 1, column 11: syntax error while parsing value - invalid literal"},
    {"a.npy", npy("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", "12345678"),
     "a.npy: header: the key 'descr' occurs twice in one object"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", std::string(8, '\0')),
     "a.npy: header: field 'fortran_order': expected true or false, found 0"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", std::string(8, '\0')),
     "a.npy: header: field 'shape[0]': expected a non-negative integer, found -2"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", std::string(8, '\0')),
     "a.npy: header: field 'shape': expected an array, each a non-negative integer, found 2"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,), }", std::string(8, '\0')),
     "a.npy: header: field 'shape[0]': expected a non-negative integer, found 2.0"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", std::string(7, '\0')),
     "a.npy: expected the data of [2] f32, found 7 bytes"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", std::string(9, '\0')),
     "a.npy: expected the data of [2] f32, found 9 bytes"},
    {"a.npy",
     npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", std::string(8, '\0')),
     "a.npy: expected the data of [4294967296, 4294967296] f32, found 8 bytes"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", std::string(8, '\0')),
     "a.npy: expected the data of [1000000000000] f32, found 8 bytes"},
    {"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", std::string(8, '\0')),
     "a.npy: header: field 'shape[0]': expected a non-negative integer, found 1e+20"},
    {"a.npy",
     npy("{'descr': '<f4', 'fortran_order': False, 'shape': "
         "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
         "1,1,1,1,1,1,1,1,1,1,1), }",
         std::string(4, '\0')),
     "a.npy: header: field 'shape': expected at most 64 extents, found an array of 65"},
    {"a.pt", "", "a.pt: expected a tensor saved by torch.save, found another kind of file"},
    {"a.pt", "GIF89a", "a.pt: expected a tensor saved by torch.save, found another kind of file"},
    {"a.pt", data("legacy.pt"),
     "a.pt: a pickle in the format before PyTorch 1.6: load it and save it again with torch.save"},
    {"a.pt", "PK\3\4 and no more", "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {"a.pt", "PK\3\4PK\5\6" + std::string(6, '\0'),
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {"a.pt", "PK\3\4PK\5\6" + std::string(8, '\0') + std::string(8, '\xff'),
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {"a.pt", data("f32.pt").substr(0, 1000),
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {"a.pt", zip({{"a/data.pkl", "."}}, 8),
     "a.pt: the entry 'a/data.pkl' is compressed or encrypted: expected stored entries, as torch.save writes them"},
    {"a.pt", zip({{"a/data.pkl", "."}}, 0, 0xfffffff0),
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {"a.pt", zip({{"a/data.pkl", "."}, {"a/data.pkl", "."}}),
     "a.pt: the zip archive is damaged or was cut short: copy or save it again"},
    {"a.pt", zip({{"a/b/data.pkl", "."}}),
     "a.pt: expected a tensor saved by torch.save, found a zip archive without data.pkl"},
    {"a.pt", zip({{"a/data.pkl", Pickle()}, {"a/byteorder", "big"}}),
     "a.pt: its bytes are in big-endian order: save it on a little-endian machine"},
    {"a.pt", zip({{"a/data.pkl", std::string(20000, '(')}}),
     "a.pt: expected a pickle of at most 16384 bytes, found 20000: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"a.pt", zip({{"a/data.pkl", Pickle()}}), "a.pt: its storage '0' is missing"},
    {"a.pt", data("dictionary.pt"),
     "a.pt: holds something else than a tensor, at byte 2 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"a.pt", data("parameter.pt"),
     "a.pt: its pickle names 'torch._utils._rebuild_parameter': save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"a.pt", data("expanded.pt"),
     "a.pt: a tensor [1000, 1000] with strides [0, 0] at offset 0 does not fit a storage of 1 element: save "
     "tensor.contiguous()"}};

struct BrokenPickle {
  std::string pickle;
  std::string message;
};

const std::vector<BrokenPickle> pickles = {
    {"",
     "a.pt: holds something else than a tensor, at byte 0 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {".",
     "a.pt: holds something else than a tensor, at byte 0 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"\x80\2",
     "a.pt: holds something else than a tensor, at byte 2 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"\x80\4",
     "a.pt: holds something else than a tensor, at byte 0 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"\x80\2}",
     "a.pt: holds something else than a tensor, at byte 2 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"\x80\2"
     "cos\nsystem\n(" +
         text("id") + "tR.",
     "a.pt: its pickle names 'os.system': save one plain tensor, torch.save(tensor.detach().cpu(), path)"},
    {"\x80\2"
     "c",
     "a.pt: holds something else than a tensor, at byte 3 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {"\x80\2"
     "cposix\nsystem",
     "a.pt: holds something else than a tensor, at byte 15 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.function = "ccollections\nOrderedDict\n"},
     "a.pt: its pickle names 'collections.OrderedDict': save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {Pickle{.function = text("torch._utils._rebuild_tensor_v2")},
     "a.pt: holds something else than a tensor, at byte 2 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.function = "ctorch._utils\n_rebuild_tensor_v3\n"},
     "a.pt: its pickle names 'torch._utils._rebuild_tensor_v3': save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.storage = "torch\nComplexFloatStorage\n"},
     "a.pt: its pickle names 'torch.ComplexFloatStorage': save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {Pickle{.storage = "collections\nOrderedDict\n"},
     "a.pt: its pickle names 'collections.OrderedDict': save one plain tensor, torch.save(tensor.detach().cpu(), "
     "path)"},
    {Pickle{.key = "X\xff\xff\xff\xff"},
     "a.pt: holds something else than a tensor, at byte 74 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.key = text("1")}, "a.pt: its storage '1' is missing"},
    {Pickle{.key = text("../../0")}, "a.pt: its storage '../../0' is missing"},
    {Pickle{.key = number(0)},
     "a.pt: holds something else than a tensor, at byte 69 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.elements = 7}, "a.pt: expected 7 f32 in its storage, found 24 bytes"},
    {Pickle{.elements = -1}, "a.pt: expected -1 f32 in its storage, found 24 bytes"},
    {Pickle{.elements = 0x7fffffff}, "a.pt: expected 2147483647 f32 in its storage, found 24 bytes"},
    {Pickle{.offset = 1},
     "a.pt: a tensor [2, 3] with strides [3, 1] at offset 1 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {Pickle{.offset = -1},
     "a.pt: a tensor [2, 3] with strides [3, 1] at offset -1 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {Pickle{.shape = number(3) + number(3) + "\x86"},
     "a.pt: a tensor [3, 3] with strides [3, 1] at offset 0 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {Pickle{.shape = number(6) + "\x85"},
     "a.pt: a tensor [6] with strides [3, 1] at offset 0 does not fit a storage of 6 elements: save "
     "tensor.contiguous()"},
    {Pickle{.shape = number(2) + number(3) + "\x87"},
     "a.pt: holds something else than a tensor, at byte 105 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.shape = number(-2) + number(-3) + "\x86"},
     "a.pt: holds something else than a tensor, at byte 100 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.shape = number(0x7fffffff) + number(0x7fffffff) + "\x86"},
     "a.pt: a tensor [2147483647, 2147483647] with strides [3, 1] at offset 0 does not fit a storage of 6 elements: "
     "save tensor.contiguous()"},
    {Pickle{.shape = "(" + std::string(130, 'K') + "t"},
     "a.pt: holds something else than a tensor, at byte 226 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.strides = number(0x7fffffff) + number(0x7fffffff) + "\x86"},
     "a.pt: a tensor [2, 3] with strides [2147483647, 2147483647] at offset 0 does not fit a storage of 6 elements: "
     "save tensor.contiguous()"},
    {Pickle{.strides = number(-3) + number(1) + "\x86"},
     "a.pt: holds something else than a tensor, at byte 111 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.strides = number(0) + text("1") + "\x86"},
     "a.pt: holds something else than a tensor, at byte 111 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.strides = "("},
     "a.pt: holds something else than a tensor, at byte 107 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.end = "R"},
     "a.pt: holds something else than a tensor, at byte 147 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.end = "R.."},
     "a.pt: holds something else than a tensor, at byte 148 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"},
    {Pickle{.end = "h\1."},
     "a.pt: holds something else than a tensor, at byte 146 of its pickle: save one plain tensor, "
     "torch.save(tensor.detach().cpu(), path)"}};

void check_refused(const TemporaryDirectory& directory, const std::filesystem::path& path, const std::string& message) {
  const auto [kind, found] = error_of([&] { read_arrays(path); }, directory.path());
  CHECK(found == message);
  CHECK(kind == ErrorKind::input);
}

}  // namespace

TEST_CASE("a broken file of arrays is refused in words") {
  for (const auto& [name, bytes, message] : files) {
    const TemporaryDirectory directory;
    check_refused(directory, directory.write(name, bytes), message);
  }
}

TEST_CASE("a broken pickle is refused in words") {
  const TemporaryDirectory directory;
  CHECK(read_arrays(directory.write("a.pt", pt(Pickle()))).at("a").shape == Shape{2, 3});
  for (const auto& [pickle, message] : pickles) check_refused(directory, directory.write("a.pt", pt(pickle)), message);
}

TEST_CASE("a broken directory of arrays is refused in words") {
  const TemporaryDirectory directory;
  directory.write("readme.txt", "x");
  check_refused(directory, directory.path(), "DIRECTORY: expected .safetensors, .npy or .pt files in it, found none");
  write_arrays(directory / "a.npy", {{"a", Array(DType::f32, {2})}});
  write_arrays(directory / "b.safetensors", {{"a", Array(DType::f32, {2})}});
  check_refused(directory, directory.path(), "b.safetensors: 'a' is also in a.npy");
}
