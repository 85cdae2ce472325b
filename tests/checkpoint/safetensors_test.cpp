#include "checkpoint/safetensors.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <thread>

#include "core/dtype.h"
#include "support.h"

using namespace nervus;
using namespace nervus::test;

namespace {

std::vector<float> some_values(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i)) * 100.0f;
  return values;
}

}  // namespace

TEST_CASE("arrays survive a file in every type, bit for bit") {
  const TemporaryDirectory directory;
  std::map<std::string, Array> arrays;
  for (int i = 0; i <= static_cast<int>(DType::f64); ++i) {
    Array array(static_cast<DType>(i), {3, 5});
    for (std::size_t k = 0; k < array.bytes.size(); ++k) array.bytes[k] = static_cast<std::byte>(k * 7 + i);
    arrays[name_of(array.dtype)] = array;
  }
  arrays["scalar"] = Array::from(std::vector<float>{2.5f}, {});
  arrays["empty"] = Array(DType::f32, {4, 0, 2});
  arrays["weird \"name\"/ä"] = Array::from(std::vector<std::int64_t>{-1}, {1});
  write_safetensors(directory / "a", arrays);

  const Safetensors file = Safetensors::open(directory / "a");
  CHECK(file.tensors().size() == arrays.size());
  for (const auto& [name, array] : arrays) {
    CAPTURE(name);
    const Array read = file.read(name);
    CHECK(read.dtype == array.dtype);
    CHECK(read.shape == array.shape);
    CHECK(read.bytes == array.bytes);
    CHECK(file.find(name)->offset % size_of(array.dtype) == 0);
  }
  CHECK(file.find("absent") == nullptr);
  const auto [kind, message] = error_of([&] { file.read("absent"); }, directory.path());
  CHECK(kind == ErrorKind::input);
  CHECK(message == "a: tensor 'absent': there is none of that name");
}

TEST_CASE("values are converted while they are read, over many pieces") {
  const TemporaryDirectory directory;
  const std::int64_t count = 700'001;  // 2.8 MB of float32
  const Array wide = Array::from(some_values(count), {count});
  write_safetensors(directory / "a", {{"f32", wide},
                                      {"bf16", wide.converted(DType::bf16)},
                                      {"f16", wide.converted(DType::f16)},
                                      {"i32", Array::from(std::vector<std::int32_t>{-7, 1 << 20}, {2})}});
  const Safetensors file = Safetensors::open(directory / "a");
  for (const char* name : {"f32", "bf16", "f16", "i32"}) {
    for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
      CAPTURE(name);
      CAPTURE(name_of(to));
      const Array expected = file.read(name).converted(to);
      Array read(to, expected.shape);
      file.read(*file.find(name), to, read.bytes.data());
      CHECK(read.bytes == expected.bytes);
    }
  }
}

TEST_CASE("data need no alignment, and several threads may read") {
  const TemporaryDirectory directory;
  const std::array<float, 2> values{1.5f, -3.0f};
  std::string header = R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"f":{"dtype":"F32","shape":[2],)"
                       R"("data_offsets":[1,9]},"e":{"dtype":"F32","shape":[0],"data_offsets":[1,1]}})";
  header += std::string(header.size() % 2 ? 2 : 1, ' ');  // an odd length
  directory.write("a", safetensors(header, std::string(1, '\5').append(bytes_of(values))));
  const Safetensors file = Safetensors::open(directory / "a");
  CHECK(file.tensors()[0].name == "b");
  CHECK(file.tensors()[1].name == "e");
  CHECK(file.tensors()[2].name == "f");
  std::vector<std::vector<float>> results(4);
  {
    std::vector<std::jthread> threads;
    for (auto& result : results) threads.emplace_back([&] { result = file.read("f").to_float(); });
  }
  for (const auto& result : results) CHECK(result == std::vector<float>{1.5f, -3.0f});
}

TEST_CASE("a file without tensors is legal") {
  const TemporaryDirectory directory;
  directory.write("a", safetensors("{}"));
  CHECK(Safetensors::open(directory / "a").tensors().empty());
}

TEST_CASE("the writer streams, and leaves nothing half-written") {
  const TemporaryDirectory directory;
  const std::vector<TensorDeclaration> tensors{{"b", DType::f32, {2}}, {"a", DType::i64, {1}}};
  const float first[2] = {1.0f, 2.0f};
  const std::int64_t second = -5;
  {
    SafetensorsWriter writer(directory / "x", tensors);
    writer.append(first, 5);
    const auto [kind, message] = error_of([&] { writer.finish(); });
    CHECK(kind == ErrorKind::internal);
  }
  CHECK(std::filesystem::is_empty(directory.path()));
  SafetensorsWriter writer(directory / "x", tensors);
  writer.append(first, 5);
  writer.append(reinterpret_cast<const char*>(first) + 5, 3);
  writer.append(&second, 8);
  CHECK(error_of([&] { writer.append(&second, 1); }).first == ErrorKind::internal);
  writer.finish();
  const Safetensors file = Safetensors::open(directory / "x");
  CHECK(file.tensors()[0].offset % 8 == 0);
  CHECK(file.read("b").to_float() == std::vector<float>{1.0f, 2.0f});
  CHECK(file.read("a").to_float() == std::vector<float>{-5.0f});
}
