// Element types and the conversions between them.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/check.h"
#include "core/float16.h"
#include "core/float8.h"
#include "nervus/array.h"

namespace nervus {

// The DType of a C++ element type.
template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, double>) return DType::f64;
  else if constexpr (std::is_same_v<T, BFloat16>) return DType::bf16;
  else if constexpr (std::is_same_v<T, Float16>) return DType::f16;
  else if constexpr (std::is_same_v<T, Float8>) return DType::e4m3;
  else if constexpr (std::is_same_v<T, bool>) return DType::boolean;
  else if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
  else if constexpr (std::is_same_v<T, std::int8_t>) return DType::i8;
  else if constexpr (std::is_same_v<T, std::uint16_t>) return DType::u16;
  else if constexpr (std::is_same_v<T, std::int16_t>) return DType::i16;
  else if constexpr (std::is_same_v<T, std::uint32_t>) return DType::u32;
  else if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  else if constexpr (std::is_same_v<T, std::uint64_t>) return DType::u64;
  else {
    static_assert(std::is_same_v<T, std::int64_t>, "no DType for this C++ type");
    return DType::i64;
  }
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
// -1: all are. On several threads where there is much.
std::int64_t convert_finite(DType from, const void* source, DType to, void* target, std::int64_t count);

}  // namespace nervus
