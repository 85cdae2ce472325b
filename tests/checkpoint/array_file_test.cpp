#include "nervus/array_file.h"

#include <doctest/doctest.h>

#include "checkpoint/npy.h"
#include "checkpoint/pt.h"
#include "support.h"

using namespace nervus;
using namespace nervus::test;

namespace {

const std::filesystem::path data = NERVUS_SOURCE_DIR "/tests/checkpoint/data";

void check_array(const Array& array, DType dtype, const Shape& shape, const std::vector<float>& values) {
  CHECK(array.dtype == dtype);
  CHECK(array.shape == shape);
  CHECK(array.to_float() == values);
}

}  // namespace

TEST_CASE("tensors saved by PyTorch are read exactly") {
  check_array(read_pt(data / "f32.pt"), DType::f32, {2, 3}, {0.5f, -1.25f, 3.0f, 1e-3f, 65504.0f, -2.0f});
  check_array(read_pt(data / "bf16.pt"), DType::bf16, {1, 3}, {1.0f, -2.5f, 3.140625f});
  check_array(read_pt(data / "f16.pt"), DType::f16, {3}, {0.5f, -1.0f, 65504.0f});
  check_array(read_pt(data / "bool.pt"), DType::boolean, {3}, {1, 0, 1});
  check_array(read_pt(data / "i64.pt"), DType::i64, {3}, {1, -2, 1099511627776.0f});
  check_array(read_pt(data / "scalar.pt"), DType::f64, {}, {7.5f});
  check_array(read_pt(data / "six_extents.pt"), DType::u8, {1, 1, 2, 1, 1, 1}, {1, 2});
  // Its count, 113, is the opcode that remembers a value.
  CHECK(read_pt(data / "count_113.pt").to_float() == std::vector<float>(113, 1.0f));
  check_array(read_pt(data / "empty.pt"), DType::f32, {0, 4}, {});
}

TEST_CASE("tensors that are views are gathered") {
  check_array(read_pt(data / "transposed.pt"), DType::i32, {3, 2}, {0, 3, 1, 4, 2, 5});
  check_array(read_pt(data / "view.pt"), DType::f32, {2, 3}, {8, 9, 10, 14, 15, 16});
}

TEST_CASE("arrays saved by NumPy are read exactly") {
  check_array(read_npy(data / "fortran.npy"), DType::f32, {2, 3}, {0, 1, 2, 3, 4, 5});
  check_array(read_npy(data / "scalar.npy"), DType::i16, {}, {-3});
  check_array(read_npy(data / "bool.npy"), DType::boolean, {2}, {1, 0});
  check_array(read_npy(data / "version2.npy"), DType::u64, {3}, {0, 1, 2});
  check_array(read_npy(data / "version3.npy"), DType::f16, {3}, {0, 1, 2});
}

TEST_CASE("a written .npy is the file that NumPy writes, and reads back in every type") {
  const TemporaryDirectory directory;
  for (int i = 0; i <= static_cast<int>(DType::f64); ++i) {
    Array array(static_cast<DType>(i), {2, 1, 3});
    for (std::size_t k = 0; k < array.bytes.size(); ++k) array.bytes[k] = static_cast<std::byte>(k + i);
    if (array.dtype == DType::bf16 || array.dtype == DType::e4m3) {
      CHECK(error_of([&] { write_npy(directory / "a.npy", array); }, directory.path()).second ==
            std::string("a.npy: a .npy file cannot hold ") + name_of(array.dtype) +
                ": write f32, or a .safetensors file");
      continue;
    }
    write_npy(directory / "a.npy", array);
    const Array read = read_npy(directory / "a.npy");
    CHECK(read.dtype == array.dtype);
    CHECK(read.shape == array.shape);
    CHECK(read.bytes == array.bytes);
  }
  write_npy(directory / "scalar.npy", read_npy(data / "scalar.npy"));
  CHECK(read_bytes(directory / "scalar.npy") == read_bytes(data / "scalar.npy"));
  write_npy(directory / "bool.npy", read_npy(data / "bool.npy"));
  CHECK(read_bytes(directory / "bool.npy") == read_bytes(data / "bool.npy"));
}

TEST_CASE("arrays are read from a file of any kind, or from all files of a directory") {
  const TemporaryDirectory directory;
  const Array images = Array::from(std::vector<float>{1, 2}, {2});
  const Array state = Array::from(std::vector<std::int64_t>{3}, {1, 1});
  write_arrays(directory / "inputs.safetensors", {{"images", images}, {"state", state}});
  write_arrays(directory / "noise.npy", {{"any", images}});
  std::filesystem::copy_file(data / "bool.pt", directory / "img_masks.pt");
  directory.write("readme.txt", "not an array");

  const auto one = read_arrays(directory / "inputs.safetensors");
  CHECK(one.size() == 2);
  check_array(one.at("images"), DType::f32, {2}, {1, 2});
  check_array(one.at("state"), DType::i64, {1, 1}, {3});
  check_array(read_arrays(directory / "noise.npy").at("noise"), DType::f32, {2}, {1, 2});
  check_array(read_arrays(directory / "img_masks.pt").at("img_masks"), DType::boolean, {3}, {1, 0, 1});
  const auto all = read_arrays(directory.path());
  CHECK(all.size() == 4);
  CHECK(all.count("images") + all.count("state") + all.count("noise") + all.count("img_masks") == 4);
}

TEST_CASE("what cannot be written is refused") {
  const TemporaryDirectory directory;
  const Array array = Array::from(std::vector<float>{1}, {1});
  const auto refuse = [&](const char* name, const std::map<std::string, Array>& arrays) {
    const auto [kind, message] = error_of([&] { write_arrays(directory / name, arrays); }, directory.path());
    CHECK(kind == ErrorKind::usage);
    return message;
  };
  CHECK(refuse("a.npz", {{"a", array}}) == "a.npz: expected a name that ends in .safetensors or .npy");
  CHECK(refuse("a.npy", {{"a", array}, {"b", array}}) ==
        "a.npy: a .npy file holds one array, not 2: write a .safetensors file");
  CHECK(std::filesystem::is_empty(directory.path()));
}
