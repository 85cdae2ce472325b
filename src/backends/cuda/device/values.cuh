// Values of kernels: elements as float, in packs of up to 16 bytes an access; sums and maxima of a warp.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

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

template <typename T>
__device__ inline T from_float(float x) {
  if constexpr (sizeof(T) == 4) return x;
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
  Pack<T, N> values;
#pragma unroll
  for (int i = 0; i < N; ++i) values.values[i] = from_float<T>(in[i]);
  *reinterpret_cast<Pack<T, N>*>(out) = values;
}

// The same value in every lane, in the same order of additions.
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(~0u, x, distance);
  return x;
}

__device__ inline float warp_maximum(float x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, distance));
  return x;
}

__device__ inline float sigmoid_product(float x) { return x / (1.0f + expf(-x)); }

}  // namespace nervus::cuda
