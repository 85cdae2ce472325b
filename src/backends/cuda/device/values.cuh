// Values of kernels: elements as float, in packs of up to 16 bytes an access.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>
#include <type_traits>

namespace nervus::cuda {

// What every kernel begins with: the next one may be scheduled, and what the one before wrote can be read.
__device__ inline void begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
#endif
}

__device__ inline float as_float(float x) { return x; }
__device__ inline float as_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float as_float(__half x) { return __half2float(x); }
__device__ inline float as_float(std::int8_t x) { return static_cast<float>(x); }
__device__ inline float as_float(__nv_fp8_e4m3 x) { return static_cast<float>(x); }

// Rounds to nearest even; e4m3 saturates, f16 overflows to infinity.
template <typename T>
__device__ inline T from_float(float x) {
  if constexpr (sizeof(T) == 4) return x;
  else if constexpr (sizeof(T) == 1) return T(x);
  else if constexpr (std::is_same_v<T, __half>) return __float2half_rn(x);
  else return __float2bfloat16_rn(x);
}

// How many elements a thread takes at once: all rows are then aligned to packs.
inline constexpr int pack = 8;

template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T values[N];
};

template <int N, typename T>
__device__ inline void load(float (&out)[N], const T* in) {
  const Pack<T, N> values = *reinterpret_cast<const Pack<T, N>*>(in);
#pragma unroll
  for (int i = 0; i < N; ++i) out[i] = as_float(values.values[i]);
}

template <int N, typename T>
__device__ inline void store(T* out, const float (&in)[N]) {
  if constexpr (sizeof(T) == 1 && N % 2 == 0) {  // there is one instruction for two
    Pack<__nv_fp8x2_storage_t, N / 2> pairs;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      pairs.values[i] = __nv_cvt_float2_to_fp8x2(make_float2(in[2 * i], in[2 * i + 1]), __NV_SATFINITE, __NV_E4M3);
    }
    *reinterpret_cast<Pack<__nv_fp8x2_storage_t, N / 2>*>(out) = pairs;
  } else {
    Pack<T, N> values;
#pragma unroll
    for (int i = 0; i < N; ++i) values.values[i] = from_float<T>(in[i]);
    *reinterpret_cast<Pack<T, N>*>(out) = values;
  }
}

// Loads that are issued where they stand; others the compiler may move to where their values are used. Of what no
// kernel writes, and of what other kernels wrote.
__device__ inline float4 load_constant_here(const float4* in) {
  float4 v;
  asm volatile("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(in));
  return v;
}
__device__ inline int load_constant_here(const int* in) {
  int v;
  asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(v) : "l"(in));
  return v;
}
__device__ inline float2 load_here(const float2* in) {
  float2 v;
  asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(in) : "memory");
  return v;
}

// Where a kernel writes what a linear may read: a value is stored times `inverse`, one over the tensor's scale.
template <typename T>
struct Output {
  using type = T;
  T* data;
  float inverse;

  template <int N>
  __device__ void store(std::int64_t at, const float (&values)[N]) const {
    float scaled[N];
#pragma unroll
    for (int i = 0; i < N; ++i) scaled[i] = values[i] * inverse;
    cuda::store<N>(data + at, scaled);
  }
};

// Of a row of int8 whose largest |x| is this; and N values of it (core/int8.h).
__device__ inline float int8_scale_of(float largest) { return largest > 0.0f ? largest / 127.0f : 1.0f; }

// As to_int8 of core/int8.h, with the inverse of the scale; a division for each value took a third of a kernel's time.
template <int N>
__device__ inline void store_int8(std::int8_t* out, const float (&in)[N], float inverse) {
  Pack<std::int8_t, N> codes;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    codes.values[i] = static_cast<std::int8_t>(max(-127, min(127, __float2int_rn(in[i] * inverse))));
  }
  *reinterpret_cast<Pack<std::int8_t, N>*>(out) = codes;
}

// 2^x, 0 for minus infinity.
__device__ inline float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1 / x within one unit of the last place, 0 for infinity.
__device__ inline float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float sigmoid_product(float x) { return x / (1.0f + expf(-x)); }

}  // namespace nervus::cuda
