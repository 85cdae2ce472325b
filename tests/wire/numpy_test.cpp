#include "wire/numpy.h"

#include <doctest/doctest.h>

#include <cstring>

#include "checkpoint/support.h"

using namespace nervus;
using namespace nervus::wire;

TEST_CASE("what is written is read back, of every type that numpy has") {
  for (const DType dtype : {DType::boolean, DType::u8, DType::i8, DType::u16, DType::i16, DType::f16, DType::u32,
                            DType::i32, DType::f32, DType::u64, DType::i64, DType::f64}) {
    const std::string bytes("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL", 6 * size_of(dtype));
    MsgpackWriter writer;
    write_array(writer, {dtype, {2, 3}, bytes});
    const std::string message = writer.take();
    const MsgpackDocument document = MsgpackDocument::read(message);
    const auto array = read_array(document.root(), "array");
    REQUIRE(array);
    CHECK(array->dtype == dtype);
    CHECK(array->shape == Shape{2, 3});
    CHECK(array->bytes == bytes);
  }
  MsgpackWriter writer;
  CHECK(test::error_of([&] {
          write_array(writer, {DType::bf16, {1}, "ab"});
        }).second.find("numpy has a type") != std::string::npos);
}

TEST_CASE("floats are written as <f4") {
  MsgpackWriter writer;
  write_array(writer, {1.5f, -2.0f}, {1, 2});
  const std::string message = writer.take();
  const MsgpackDocument document = MsgpackDocument::read(message);
  CHECK(document.root().find("dtype")->text() == "<f4");
  CHECK(read_numbers(document.root(), "array") == std::vector<float>{1.5f, -2.0f});
}
