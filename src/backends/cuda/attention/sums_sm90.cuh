// What tile_sm90.cu adds up, and how it leaves the kernel.
#pragma once

#include "backends/cuda/attention/tile_plan.cuh"
#include "backends/cuda/device/tensor_sm90.cuh"
#include "backends/cuda/device/wgmma_sm90.cuh"

namespace nervus::cuda {

constexpr int team_threads = 128;

// In shared memory a matrix of 64 rows is cut into parts of 64 columns and one of the 16 that are left, each swizzled.
constexpr int wide_bytes = 64 * 128, narrow_bytes = 64 * 32;

template <int D>
struct Matrix {
  static constexpr int wide = D / 64, narrow = D % 64 / 16;
  static constexpr int bytes = wide * wide_bytes + narrow * narrow_bytes;
  static_assert(narrow <= 1 && wide * 64 + narrow * 16 == D);

  // Where 8 columns of a row are.
  static __device__ int place(int row, int unit) {
    const int part = unit / 8;
    if (part < wide) return part * wide_bytes + row * 128 + (unit % 8 ^ row % 8) * 16;
    return wide * wide_bytes + row * 32 + (unit % 2 ^ row / 4 % 2) * 16;
  }
  // 16 columns of all rows, as a factor with the columns along the product's inputs.
  static __device__ std::uint64_t columns(std::uint32_t matrix, int step) {
    if (step < 4 * wide) return swizzled_tile(matrix + step / 4 * wide_bytes + step % 4 * 32);
    return swizzled_tile<32>(matrix + wide * wide_bytes);
  }
};

// A warpgroup's sums: column 8 n + 2 pair + e % 2 of row quad + e / 2 * 8 of the warp's 16 is number 4 n + e.
template <int D>
struct Sums {
  using M = Matrix<D>;
  float wide[M::wide][32];
  float narrow[M::narrow > 0 ? 8 : 1];

  __device__ Sums() : wide{}, narrow{} {}
  __device__ float& operator[](int i) { return i < M::wide * 32 ? wide[i / 32][i % 32] : narrow[i - M::wide * 32]; }

  // += p v of a block
  __device__ void add(const std::uint32_t (&p)[block_keys / 16][4], std::uint32_t values) {
    products_begin();
#pragma unroll
    for (int k = 0; k < block_keys / 16; ++k) {
#pragma unroll
      for (int part = 0; part < M::wide; ++part) {
        const std::uint64_t v = swizzled_tile(values + part * wide_bytes + k * 16 * 128);
        TransposedProduct<__nv_bfloat16, 64>::add(wide[part], p[k], v, true);
      }
      if constexpr (M::narrow > 0) {
        const std::uint64_t v = swizzled_tile<32>(values + M::wide * wide_bytes + k * 16 * 32);
        TransposedProduct<__nv_bfloat16, 16>::add(narrow, p[k], v, true);
      }
    }
    products_commit();
    products_wait();
  }
};

// Maximum and sum of each row of a tile, as its teams have them.
template <int Teams>
struct States {
  float2 of[Teams][tile_rows];

  __device__ void put(const Running& running, int team) {
    const int row = threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = quad_sum(running.sum[r]);
      if (threadIdx.x % 4 == 0) of[team][row + 8 * r] = make_float2(running.largest[r], sum);
    }
  }
  // When all have put theirs: what a team's sums of a row are multiplied by; `joins` as two teams have some.
  __device__ float weight(int row, int team, bool joins) const {
    const float2 own = of[team][row], other = joins ? of[Teams - 1 - team][row] : make_float2(-INFINITY, 0);
    const float top = fmaxf(own.x, other.x), zero = top == -INFINITY ? 0.0f : top;
    const float shrink = power_of_two(own.x - zero), sum = own.y * shrink + other.y * power_of_two(other.x - zero);
    return sum > 0 ? shrink * reciprocal(sum) : 0.0f;
  }
};

// How a team's sums leave, weighed, by threads that have `weights` of two rows. Where two teams join, each finishes
// half of the columns, with the other's sums of it; what a block writes is staged, so that a thread stores 16 bytes of
// a row.
template <int D, typename Y>
struct Finish {
  static constexpr int unit = 16 / static_cast<int>(sizeof(Y)), stride = D + unit;  // rows fall on different banks
  static constexpr int staged_bytes = tile_rows * stride * static_cast<int>(sizeof(Y));
  static constexpr int half = D / 4;  // of a thread's sums
  static constexpr int given_bytes = half * team_threads * 4;
  static_assert(half % 4 == 0 && D % unit == 0);

  // This team's sums of the other's half.
  template <int team>
  static __device__ void give(std::byte* memory, Sums<D>& o, const float (&weights)[2]) {
    auto* to = reinterpret_cast<float4*>(memory) + threadIdx.x % team_threads;
#pragma unroll
    for (int i = 0; i < half; i += 4) {
      const int from = (1 - team) * half + i;
      to[i / 4 * team_threads] = make_float4(o[from] * weights[0], o[from + 1] * weights[0], o[from + 2] * weights[1],
                                             o[from + 3] * weights[1]);
    }
  }
  // The columns of 8 from `first` to `last`; plus what was given, if something was.
  template <int first, int last>
  static __device__ void put(std::byte* staged, const std::byte* given, const Output<Y>& y, Sums<D>& o,
                             const float (&weights)[2]) {
    const int lane = threadIdx.x % 32;
    const auto* from = reinterpret_cast<const float4*>(given) + threadIdx.x % team_threads;
    Output<Y> to = y;
    to.data = reinterpret_cast<Y*>(staged) + (threadIdx.x / 32 % 4 * 16 + lane / 4) * stride + lane % 4 * 2;
    float4 more[last - first] = {};
    if (given != nullptr) {
#pragma unroll
      for (int n = 0; n < last - first; ++n) more[n] = from[n * team_threads];
    }
#pragma unroll
    for (int n = first; n < last; ++n) {
      const float4& m = more[n - first];
      const float above[2] = {o[4 * n] * weights[0] + m.x, o[4 * n + 1] * weights[0] + m.y};
      const float below[2] = {o[4 * n + 2] * weights[1] + m.z, o[4 * n + 3] * weights[1] + m.w};
      to.store(n * 8, above);
      to.store(8 * stride + n * 8, below);
    }
  }
  // When all have put theirs, by as many threads: to the rows that are there.
  template <int threads>
  static __device__ void store(const std::byte* staged, Y* y, const int* rows, int heads, int head) {
    constexpr int units = D / unit, turns = (tile_rows * units + threads - 1) / threads;
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) {
      const int i = turn * threads + static_cast<int>(threadIdx.x), place = i / units, column = i % units * unit;
      if (tile_rows * units % threads != 0 && place >= tile_rows) continue;
      const int row = rows[place];
      const uint4 values =
          *reinterpret_cast<const uint4*>(reinterpret_cast<const Y*>(staged) + place * stride + column);
      if (row >= 0)
        *reinterpret_cast<uint4*>(y + (static_cast<std::int64_t>(row) * heads + head) * D + column) = values;
    }
  }
};

}  // namespace nervus::cuda
