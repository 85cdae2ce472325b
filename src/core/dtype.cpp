#include "core/dtype.h"

#include <algorithm>
#include <cstring>

namespace nervus {
namespace {

template <typename T>
float widen(T x) {
  if constexpr (std::is_arithmetic_v<T>) return static_cast<float>(x);
  else return to_float(x);
}

template <typename T>
void widen_all(const void* source, float* target, std::int64_t count) {
  const auto* bytes = static_cast<const std::byte*>(source);
  for (std::int64_t i = 0; i < count; ++i) {
    T x;
    std::memcpy(&x, bytes + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    target[i] = widen(x);
  }
}

template <auto narrow>
void narrow_all(const float* source, std::byte* target, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto x = narrow(source[i]);
    std::memcpy(target + i * static_cast<std::int64_t>(sizeof(x)), &x, sizeof(x));
  }
}

}  // namespace

void convert_to_float(DType from, const void* source, float* target, std::int64_t count) {
  switch (from) {
    case DType::f32:
      if (count > 0) std::memcpy(target, source, static_cast<std::size_t>(count) * 4);
      return;
    case DType::bf16: return widen_all<BFloat16>(source, target, count);
    case DType::f16: return widen_all<Float16>(source, target, count);
    case DType::e4m3: return widen_all<Float8>(source, target, count);
    case DType::f64: return widen_all<double>(source, target, count);
    case DType::boolean:
    case DType::u8: return widen_all<std::uint8_t>(source, target, count);
    case DType::i8: return widen_all<std::int8_t>(source, target, count);
    case DType::u16: return widen_all<std::uint16_t>(source, target, count);
    case DType::i16: return widen_all<std::int16_t>(source, target, count);
    case DType::u32: return widen_all<std::uint32_t>(source, target, count);
    case DType::i32: return widen_all<std::int32_t>(source, target, count);
    case DType::u64: return widen_all<std::uint64_t>(source, target, count);
    case DType::i64: return widen_all<std::int64_t>(source, target, count);
  }
}

void convert(DType from, const void* source, DType to, void* target, std::int64_t count) {
  check(is_float(to) && to != DType::f64, "convert: target is a float format");
  if (from == to) {
    if (count > 0) std::memcpy(target, source, static_cast<std::size_t>(count) * size_of(to));
    return;
  }
  constexpr std::int64_t chunk = 1024;
  float wide[chunk];
  const auto* in = static_cast<const std::byte*>(source);
  auto* out = static_cast<std::byte*>(target);
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    const std::int64_t n = std::min(chunk, count - begin);
    convert_to_float(from, in + begin * static_cast<std::int64_t>(size_of(from)), wide, n);
    std::byte* place = out + begin * static_cast<std::int64_t>(size_of(to));
    if (to == DType::f32) std::memcpy(place, wide, static_cast<std::size_t>(n) * 4);
    else if (to == DType::bf16) narrow_all<to_bfloat16>(wide, place, n);
    else if (to == DType::f16) narrow_all<to_float16>(wide, place, n);
    else narrow_all<to_float8>(wide, place, n);
  }
}

}  // namespace nervus
