#include "checkpoint/layout.h"

#include <doctest/doctest.h>

using namespace nervus;

TEST_CASE("bytes are counted, or not at all") {
  CHECK(checked_bytes({}, DType::f64) == 8);
  CHECK(checked_bytes({2, 3}, DType::bf16) == 12);
  CHECK(checked_bytes({std::int64_t{1} << 62, 4, 0}, DType::u8) == 0);
  CHECK(checked_bytes({(std::int64_t{1} << 62) - 1}, DType::u16) == (std::uint64_t{1} << 63) - 2);
  CHECK_FALSE(checked_bytes({std::int64_t{1} << 62}, DType::u16));
  CHECK_FALSE(checked_bytes({-1}, DType::u8));
  CHECK_FALSE(checked_bytes({0, -1}, DType::u8));
}

TEST_CASE("elements are gathered by their strides, within the source") {
  const std::vector<std::byte> source{std::byte{0}, std::byte{1}, std::byte{2},
                                      std::byte{3}, std::byte{4}, std::byte{5}};
  const auto values = [&](const Shape& shape, const std::vector<std::int64_t>& strides, std::int64_t offset) {
    const auto array = gather(source, DType::u8, shape, strides, offset);
    return array ? array->to_float() : std::vector<float>{-1};
  };
  CHECK(values({2, 3}, contiguous_strides({2, 3}, false), 0) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(values({2, 3}, contiguous_strides({2, 3}, true), 0) == std::vector<float>{0, 2, 4, 1, 3, 5});
  CHECK(values({3}, {2}, 1) == std::vector<float>{1, 3, 5});
  CHECK(values({3}, {2}, 2) == std::vector<float>{-1});
  CHECK(values({6}, {0}, 3) == std::vector<float>{3, 3, 3, 3, 3, 3});
  CHECK(values({7}, {0}, 3) == std::vector<float>{-1});
  CHECK(values({}, {}, 5) == std::vector<float>{5});
  CHECK(values({}, {}, 6) == std::vector<float>{-1});
  CHECK(values({2}, {std::int64_t{1} << 62}, std::int64_t{1} << 62) == std::vector<float>{-1});
  CHECK(values({0, 2}, {1, 1}, 0).empty());
}
