// What all threads of a warp or of a block have together.
#pragma once

namespace nervus::cuda {

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

constexpr unsigned most_warps = 16;  // of a block that joins what they found

// What the block's warps found, joined from 0 on, the same in each thread. A block that joins twice in the same way has
// to meet in between: `parts` is the same.
template <typename T, typename Join>
__device__ T across_warps(T found, const Join& join) {
  __shared__ T parts[most_warps];
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = found;
  __syncthreads();
  const unsigned warps = blockDim.x / 32;
  constexpr unsigned at_once = 8;  // loads that do not wait for each other
  T all{};
#pragma unroll
  for (unsigned i = 0; i < at_once; ++i) {
    if (i < warps) all = join(all, parts[i]);
  }
  for (unsigned i = at_once; i < warps; ++i) all = join(all, parts[i]);
  return all;
}

// Over the threads of a block.
__device__ inline float block_sum(float x) {
  return across_warps(warp_sum(x), [](float a, float b) { return a + b; });
}
__device__ inline float block_maximum(float x) {
  return across_warps(warp_maximum(x), [](float a, float b) { return fmaxf(a, b); });
}

}  // namespace nervus::cuda
