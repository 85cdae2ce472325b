// Element types and the conversions between them.
#pragma once

#include <cstdint>
#include <tuple>
#include <type_traits>

#include "core/check.h"
#include "core/float16.h"
#include "core/float8.h"
#include "nervus/array.h"

namespace nervus {

// The C++ types of elements, in the order of DType.
using Elements = std::tuple<bool, std::uint8_t, std::int8_t, Float8, std::uint16_t, std::int16_t, Float16, BFloat16,
                            std::uint32_t, std::int32_t, float, std::uint64_t, std::int64_t, double>;

// The DType of a C++ element type.
template <typename T, std::size_t i = 0>
constexpr DType dtype_of() {
  static_assert(i < std::tuple_size_v<Elements>, "no DType for this C++ type");
  if constexpr (std::is_same_v<T, std::tuple_element_t<i, Elements>>) return static_cast<DType>(i);
  else return dtype_of<T, i + 1>();
}

constexpr bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::e4m3 ||
         dtype == DType::f64;
}

// Widens `count` elements to float32. Source may be unaligned.
void convert_to_float(DType from, const void* source, float* target, std::int64_t count);

// Converts `count` elements; `to` is f32, f16, bf16 or e4m3. Source and target may be unaligned and must not overlap.
void convert(DType from, const void* source, DType to, void* target, std::int64_t count);

// The same where every value is finite; otherwise returns the first element that is not, with the target undefined.
// -1: all are.
std::int64_t convert_finite(DType from, const void* source, DType to, void* target, std::int64_t count);

}  // namespace nervus
