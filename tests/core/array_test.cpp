#include "nervus/array.h"

#include <doctest/doctest.h>

#include <limits>

#include "nervus/error.h"

using namespace nervus;

TEST_CASE("element_count multiplies extents and refuses what 64 bits cannot hold") {
  CHECK(element_count({}) == 1);
  CHECK(element_count({2, 3, 4}) == 24);
  CHECK(element_count({std::numeric_limits<std::int64_t>::max(), 4, 0}) == 0);
  CHECK_THROWS_WITH_AS(element_count({2, -1}), "shape [2, -1] has a negative extent", Error);
  CHECK_THROWS_AS(element_count({std::numeric_limits<std::int64_t>::max(), 2}), Error);
}

TEST_CASE("an array is zero-filled, typed and sized") {
  Array array(DType::f32, {2, 3});
  CHECK(array.bytes.size() == 24);
  CHECK(array.data<float>()[5] == 0.0f);
  CHECK_THROWS_AS(array.data<double>(), Error);
  CHECK_THROWS_AS(Array(DType::f64, {std::numeric_limits<std::int64_t>::max() / 4}), Error);
}

TEST_CASE("from copies values and to_float widens every type") {
  CHECK(Array::from<std::int64_t>({-3, 7}, {2}).to_float() == std::vector<float>{-3.0f, 7.0f});
  CHECK(Array::from<std::uint8_t>({0, 255}, {1, 2}).to_float() == std::vector<float>{0.0f, 255.0f});
  const Array array = Array::from<float>({1.0f, -2.5f}, {2});
  CHECK(array.converted(DType::bf16).to_float() == std::vector<float>{1.0f, -2.5f});
  CHECK(array.converted(DType::f16).converted(DType::f32).to_float() == std::vector<float>{1.0f, -2.5f});
}

TEST_CASE("shapes print as in error messages") {
  CHECK(to_string(Shape{2752, 768}) == "[2752, 768]");
  CHECK(to_string(Shape{}) == "[]");
}
