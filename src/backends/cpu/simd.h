// Vectors of `lanes` floats in the instruction set that the including file is compiled for, and the
// elementary functions on them. Included by vector_kernels.cpp alone, inside its own namespace: nothing here
// may have external linkage, or the linker could hand one instruction set's code to another's processor.
#pragma once

#include <cstdint>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace nervus::NERVUS_TARGET {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

using Bits16 = std::uint16_t;  // of a bfloat16

typedef float Floats __attribute__((vector_size(4 * lanes)));
typedef std::int32_t Ints __attribute__((vector_size(4 * lanes)));
typedef std::uint32_t Words __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t Halves __attribute__((vector_size(2 * lanes)));

inline Floats all(float x) { return x - Floats{}; }
inline Ints all(std::int32_t x) { return x - Ints{}; }
inline Floats as_floats(Words x) { return reinterpret_cast<Floats>(x); }
inline Words as_words(Floats x) { return reinterpret_cast<Words>(x); }

inline Floats widen(Halves x) { return as_floats(__builtin_convertvector(x, Words) << 16); }

// Round to nearest even; a NaN stays a (quiet) NaN.
inline Halves narrow(Floats x) {
  const Words bits = as_words(x);
  const Words rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return __builtin_convertvector(((bits & 0x7fffffffu) > 0x7f800000u ? (bits | 0x00400000u) : rounded) >> 16, Halves);
}

inline Floats load(const float* x) {
  Floats y;
  __builtin_memcpy(&y, x, sizeof y);
  return y;
}

inline Floats load(const Bits16* x) {
  Halves y;
  __builtin_memcpy(&y, x, sizeof y);
  return widen(y);
}

inline Ints load(const std::int32_t* x) {
  Ints y;
  __builtin_memcpy(&y, x, sizeof y);
  return y;
}

inline void store(float* y, Floats x) { __builtin_memcpy(y, &x, sizeof x); }
inline void store(std::int32_t* y, Ints x) { __builtin_memcpy(y, &x, sizeof x); }

inline void store(Bits16* y, Floats x) {
  const Halves halves = narrow(x);
  __builtin_memcpy(y, &halves, sizeof halves);
}

// The first `count` < lanes elements; the others read as 0 and are not written.
#if defined(__AVX512F__)
inline __mmask16 first(std::int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
inline Floats load_first(const float* x, std::int64_t count) {
  return reinterpret_cast<Floats>(_mm512_maskz_loadu_ps(first(count), x));
}
inline Floats load_first(const Bits16* x, std::int64_t count) {
  return widen(reinterpret_cast<Halves>(_mm256_maskz_loadu_epi16(first(count), x)));
}
inline void store_first(float* y, Floats x, std::int64_t count) {
  _mm512_mask_storeu_ps(y, first(count), reinterpret_cast<__m512>(x));
}
inline void store_first(Bits16* y, Floats x, std::int64_t count) {
  _mm256_mask_storeu_epi16(y, first(count), reinterpret_cast<__m256i>(narrow(x)));
}
#else
template <typename T>
Floats load_first(const T* x, std::int64_t count) {
  T padded[lanes] = {};
  for (std::int64_t i = 0; i < count; ++i) padded[i] = x[i];
  return load(padded);
}
template <typename T>
void store_first(T* y, Floats x, std::int64_t count) {
  T padded[lanes];
  store(padded, x);
  for (std::int64_t i = 0; i < count; ++i) y[i] = padded[i];
}
#endif

// Elements [i, i + lanes) of an array of `count`, as far as there are any.
template <typename T>
Floats load_at(const T* x, std::int64_t i, std::int64_t count) {
  return count - i >= lanes ? load(x + i) : load_first(x + i, count - i);
}
template <typename T>
void store_at(T* y, Floats x, std::int64_t i, std::int64_t count) {
  if (count - i >= lanes) store(y + i, x);
  else store_first(y + i, x, count - i);
}

inline float sum(Floats x) {
  float total[lanes];
  store(total, x);
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) total[i] += total[i + width];
  }
  return total[0];
}

// The larger; where one is a NaN, y.
inline Floats larger(Floats x, Floats y) { return x > y ? x : y; }

// e^x within 2 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, Taylor's series of e^r to r^7 / 7!, times 2^n in
// two steps so that subnormal results are right. e^NaN = NaN.
inline Floats exponential(Floats x) {
  x = x < -105.0f ? all(-105.0f) : x;
  x = x > 89.0f ? all(89.0f) : x;
  constexpr float round_to_integer = 0x1.8p23f;
  const Floats shifted = x * 0x1.715476p0f + round_to_integer;  // log2(e)
  const Floats n = shifted - round_to_integer;
  const Floats r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  Floats y = all(1.0f / 5040);
  y = y * r + 1.0f / 720;
  y = y * r + 1.0f / 120;
  y = y * r + 1.0f / 24;
  y = y * r + 1.0f / 6;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  const Ints exponent = reinterpret_cast<Ints>(shifted) - 0x4b400000;
  const Ints half = exponent >> 1;
  const Floats first_step = reinterpret_cast<Floats>((half + 127) << 23);
  const Floats second_step = reinterpret_cast<Floats>((exponent - half + 127) << 23);
  return y * first_step * second_step;
}

// Phi(-x) = erfc(t) / 2 for t = x / sqrt(2) >= 0: erfc(t) e^(t^2) is a polynomial in u = 1 / (1 + t / 2) (least squares
// on [0, 10], relative error 3e-8); e^(-x^2 / 2) takes x^2 as the sum of a float and its rounding error.
inline Floats upper_tail(Floats x) {
  x = x > 14.0f ? all(14.0f) : x;
  const Floats u = 1.0f / (1.0f + 0.35355339f * x);
  Floats y = all(-0.055055448f);
  y = y * u + 0.263926664f;
  y = y * u - 0.441534726f;
  y = y * u + 0.22126815f;
  y = y * u + 0.01701369f;
  y = y * u + 0.181283464f;
  y = y * u + 0.249782381f;
  y = y * u + 0.281100662f;
  y = y * u + 0.282221131f;
  y = y * u - 6e-6f;
  const Floats upper = as_floats(as_words(x) & 0xfffff000u);  // 12 bits: its square is exact
  const Floats square = x * x;
  const Floats error = (upper * upper - square) + (x - upper) * (x + upper);
  return 0.5f * y * exponential(-0.5f * square) * (1.0f - 0.5f * error);
}

}  // namespace
}  // namespace nervus::NERVUS_TARGET
