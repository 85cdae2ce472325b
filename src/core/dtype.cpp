#include "core/dtype.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

// In the order of DType; a bool is read as a byte, whatever a file says it is.
template <typename... T>
constexpr auto make_widen_table(std::type_identity<std::tuple<bool, T...>>) {
  return std::array{widen_all<std::uint8_t>, widen_all<T>...};
}
constexpr auto widen_by_type = make_widen_table(std::type_identity<Elements>());

template <auto narrow>
void narrow_all(const float* source, std::byte* target, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto x = narrow(source[i]);
    std::memcpy(target + i * static_cast<std::int64_t>(sizeof(x)), &x, sizeof(x));
  }
}

constexpr std::int64_t chunk = 1024;  // values that are converted at a time

// Adding one to the exponent's last bit carries into the sign's place where all its bits are set.
constexpr std::uint32_t magnitude = 0x7fffffff, carry = 0x00800000;

bool finite(const float* values, std::int64_t count) {
  std::uint32_t seen = 0;
  for (std::int64_t i = 0; i < count; ++i) seen |= (std::bit_cast<std::uint32_t>(values[i]) & magnitude) + carry;
  return seen >> 31 == 0;
}

#if defined(__x86_64__)
[[gnu::target("avx2,f16c")]] bool narrow_float16_f16c(const float* source, std::byte* target, std::int64_t count) {
  const std::int64_t whole = count / 8 * 8;
  __m256i seen = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < whole; i += 8) {
    const __m256 eight = _mm256_loadu_ps(source + i);
    const __m256i size = _mm256_and_si256(_mm256_castps_si256(eight), _mm256_set1_epi32(magnitude));
    seen = _mm256_or_si256(seen, _mm256_add_epi32(size, _mm256_set1_epi32(carry)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target + 2 * i), _mm256_cvtps_ph(eight, _MM_FROUND_TO_NEAREST_INT));
  }
  narrow_all<to_float16>(source + whole, target + 2 * whole, count - whole);
  return _mm256_movemask_ps(_mm256_castsi256_ps(seen)) == 0 && finite(source + whole, count - whole);
}
#endif

// Rounds to binary16, and says whether all are finite. A processor without the instruction takes ten times as long.
bool narrow_float16(const float* source, std::byte* target, std::int64_t count) {
#if defined(__x86_64__)
  static const bool has_f16c = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
  if (has_f16c) return narrow_float16_f16c(source, target, count);
#endif
  narrow_all<to_float16>(source, target, count);
  return finite(source, count);
}

void write_chunk(const float* values, DType to, std::byte* target, std::int64_t count) {
  if (to == DType::f32) std::memcpy(target, values, static_cast<std::size_t>(count) * 4);
  else if (to == DType::bf16) narrow_all<to_bfloat16>(values, target, count);
  else if (to == DType::f16) narrow_float16(values, target, count);
  else narrow_all<to_float8>(values, target, count);
}

// Rounds to bfloat16 in the same pass; what it writes for values that are not finite is of no use.
[[gnu::always_inline]] inline bool narrow_finite_loop(const float* values, std::uint16_t* target, std::int64_t count) {
  std::uint32_t seen = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    seen |= (bits & magnitude) + carry;
    target[i] = static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  return seen >> 31 == 0;
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] bool narrow_finite_avx2(const float* values, std::uint16_t* target, std::int64_t count) {
  return narrow_finite_loop(values, target, count);
}
#endif

bool narrow_finite(const float* values, std::uint16_t* target, std::int64_t count) {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx2) return narrow_finite_avx2(values, target, count);
#endif
  return narrow_finite_loop(values, target, count);
}

// Of the values behind those that are converted now: a processor looks ahead by itself, but not beyond a page.
void ask_for(const std::byte* memory, std::int64_t bytes) {
  constexpr std::int64_t line = 64;
  for (std::int64_t i = 0; i < bytes; i += line) __builtin_prefetch(memory + i);
}

// Straight from f32; false if a value is not finite.
bool convert_chunk(const float* values, DType to, std::byte* target, std::int64_t count) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(target) % alignof(std::uint16_t) == 0;
  if (to == DType::f16) return narrow_float16(values, target, count);
  if (to == DType::bf16 && aligned) return narrow_finite(values, reinterpret_cast<std::uint16_t*>(target), count);
  write_chunk(values, to, target, count);
  return finite(values, count);
}

}  // namespace

void convert_to_float(DType from, const void* source, float* target, std::int64_t count) {
  widen_by_type.at(static_cast<std::size_t>(from))(source, target, count);
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
  const auto* in = static_cast<const std::byte*>(source);
  auto* out = static_cast<std::byte*>(target);
  const auto size = static_cast<std::int64_t>(size_of(from));
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    float wide[chunk];
    const std::int64_t n = std::min(chunk, count - begin);
    const std::byte* part = in + begin * size;
    ask_for(part + n * size, std::min(chunk, count - begin - n) * size);
    const bool direct = from == DType::f32 && reinterpret_cast<std::uintptr_t>(part) % alignof(float) == 0;
    if (!direct) convert_to_float(from, part, wide, n);
    const float* values = direct ? reinterpret_cast<const float*>(part) : wide;
    if (!convert_chunk(values, to, out + begin * static_cast<std::int64_t>(size_of(to)), n)) {
      return begin + (std::find_if(values, values + n, [](float x) { return !std::isfinite(x); }) - values);
    }
  }
  return -1;
}

}  // namespace nervus
