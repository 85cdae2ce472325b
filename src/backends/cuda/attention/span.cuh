// Which cache slots the rows of a tile see, and small steps that attention kernels share.
#pragma once

#include <climits>
#include <cmath>
#include <cstdint>

#include "backends/cuda/device/values.cuh"

namespace nervus::cuda {

// What scores of heads of `columns` are multiplied by, as powers of two: log2(e) / sqrt(d).
inline float score_scale(std::int64_t columns) { return 1.4426950408889634f / std::sqrt(static_cast<float>(columns)); }

// The slots that any row of a tile sees: [first, first + first_count) and [second, ...), numbered 0 .. total.
struct Span {
  int first, first_count, second, total;

  __device__ int slot(int j) const { return j < first_count ? first + j : second + j - first_count; }
};

// Of the ranges that the lanes of a warp hold, `each` of them.
template <int each>
__device__ Span span_of(const int4 (&ranges)[each]) {
  int bounds[4] = {INT_MAX, INT_MAX, INT_MAX, INT_MAX};  // least begin and negated greatest end of both
#pragma unroll
  for (const int4& range : ranges) {
    if (range.x < range.y) bounds[0] = min(bounds[0], range.x), bounds[1] = min(bounds[1], -range.y);
    if (range.z < range.w) bounds[2] = min(bounds[2], range.z), bounds[3] = min(bounds[3], -range.w);
  }
#pragma unroll
  for (int& bound : bounds) bound = __reduce_min_sync(~0u, bound);
  Span span{};
  if (bounds[0] != INT_MAX) span.first = bounds[0], span.first_count = -bounds[1] - bounds[0];
  if (bounds[2] != INT_MAX) span.second = bounds[2], span.total = -bounds[3] - bounds[2];
  span.total += span.first_count;
  return span;
}

// The slot numbers that one row sees, as two intervals; without branches.
struct Sight {
  int begin[2];
  unsigned count[2];

  __device__ Sight(const int4& range, const Span& span)
      : begin{range.x - span.first, range.z - span.second + span.first_count},
        count{static_cast<unsigned>(max(range.y - range.x, 0)), static_cast<unsigned>(max(range.w - range.z, 0))} {}
  __device__ bool sees(int j) const {
    return (static_cast<unsigned>(j - begin[0]) < count[0]) | (static_cast<unsigned>(j - begin[1]) < count[1]);
  }
};

// 16 bytes from L2 into shared memory; copies_wait() waits for all of this thread's but the `newest` groups.
__device__ inline void copy_async_to(std::uint32_t target, const void* source) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(source) : "memory");
}
__device__ inline void copy_async(void* target, const void* source) {
  copy_async_to(static_cast<std::uint32_t>(__cvta_generic_to_shared(target)), source);
}
__device__ inline void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int newest>
__device__ inline void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory");
}

// Four 8 x 8 matrices; lane l gives the row l % 8 of matrix l / 8.
template <bool transposed>
__device__ uint4 load_matrices(const void* row) {
  uint4 m;
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m.x), "=r"(m.y), "=r"(m.z), "=r"(m.w)
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m.x), "=r"(m.y), "=r"(m.z), "=r"(m.w)
                 : "r"(address)
                 : "memory");
  }
  return m;
}

// d [16, 8] f32 += a [16, 16] b [16, 8], bf16
__device__ inline void multiply(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

__device__ inline std::uint32_t packed(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&both);
}

// The running maximum and sum of a thread's two rows.
struct Running {
  float largest[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};
};

// Over the four lanes that share a row.
__device__ inline float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(~0u, v, 1));
  return fmaxf(v, __shfl_xor_sync(~0u, v, 2));
}
__device__ inline float quad_sum(float v) {
  v += __shfl_xor_sync(~0u, v, 1);
  return v + __shfl_xor_sync(~0u, v, 2);
}

}  // namespace nervus::cuda
