#include "core/workspace.h"

#include <doctest/doctest.h>

using namespace nervus;

TEST_CASE("scopes release what was allocated inside, and the peak is remembered") {
  Workspace workspace = Workspace::measuring();
  const Tensor outer = workspace.allocate(DType::f32, 2, 3);
  void* inner = nullptr;
  {
    auto scope = workspace.scope();
    inner = workspace.allocate(DType::bf16, 100, 100).data;
  }
  CHECK(workspace.allocate(DType::u8, 1, 1).data == inner);
  CHECK(outer.data != inner);
  CHECK(workspace.peak() == Workspace::alignment + 20224);
}

TEST_CASE("a full workspace is an error in words") {
  alignas(Workspace::alignment) static std::byte memory[512];
  Workspace workspace(memory, 512);
  workspace.allocate(DType::f32, 1, 64);
  CHECK_NOTHROW(workspace.allocate(DType::f32, 1, 64));
  CHECK_THROWS_AS(workspace.allocate(DType::u8, 1, 1), Error);
}

TEST_CASE("slices and reshapes stay inside their tensor") {
  float values[12] = {};
  const Tensor tensor{values, DType::f32, 4, 3};
  CHECK(tensor.slice(1, 2).data == values + 3);
  CHECK(tensor.reshaped(2, 6).columns == 6);
  CHECK_THROWS_AS(tensor.slice(3, 2), Error);
  CHECK_THROWS_AS(tensor.reshaped(5, 3), Error);
  CHECK_THROWS_AS(tensor.as<double>(), Error);
}
