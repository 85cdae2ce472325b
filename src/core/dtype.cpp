#include "core/dtype.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
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

constexpr std::int64_t chunk = 1024;  // values that are converted at a time

void write_chunk(const float* values, DType to, std::byte* target, std::int64_t count) {
  if (to == DType::f32) std::memcpy(target, values, static_cast<std::size_t>(count) * 4);
  else if (to == DType::bf16) narrow_all<to_bfloat16>(values, target, count);
  else if (to == DType::f16) narrow_all<to_float16>(values, target, count);
  else narrow_all<to_float8>(values, target, count);
}

bool finite(const float* values, std::int64_t count) {
  std::int32_t largest = 0;  // of the magnitudes' bits
  for (std::int64_t i = 0; i < count; ++i)
    largest = std::max(largest, std::bit_cast<std::int32_t>(values[i]) & 0x7fffffff);
  return largest < 0x7f800000;
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
  float wide[chunk];
  const auto* in = static_cast<const std::byte*>(source);
  auto* out = static_cast<std::byte*>(target);
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    const std::int64_t n = std::min(chunk, count - begin);
    convert_to_float(from, in + begin * static_cast<std::int64_t>(size_of(from)), wide, n);
    write_chunk(wide, to, out + begin * static_cast<std::int64_t>(size_of(to)), n);
  }
}

std::int64_t convert_finite(DType from, const void* source, DType to, void* target, std::int64_t count) {
  constexpr std::int64_t worth_threads = 1 << 18;
  constexpr int enough = 4;  // threads: more do not read memory faster
  const int threads = count < worth_threads ? 1 : std::min(enough, omp_get_num_procs());
  const auto* in = static_cast<const std::byte*>(source);
  auto* out = static_cast<std::byte*>(target);
  std::int64_t bad = count;
#pragma omp parallel for num_threads(threads) reduction(min : bad) schedule(static)
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    float wide[chunk];
    const std::int64_t n = std::min(chunk, count - begin);
    convert_to_float(from, in + begin * static_cast<std::int64_t>(size_of(from)), wide, n);
    if (!finite(wide, n)) {
      const auto* found = std::find_if(wide, wide + n, [](float x) { return !std::isfinite(x); });
      bad = std::min(bad, begin + (found - wide));
    }
    write_chunk(wide, to, out + begin * static_cast<std::int64_t>(size_of(to)), n);
  }
  return bad < count ? bad : -1;
}

}  // namespace nervus
