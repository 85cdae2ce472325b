// y [T, H d] = softmax(q k^T / sqrt(d)) v for streams of few rows: d = 128, bf16, q and y tiled, softmax in float32.
// Work: a block is 16 rows of one head; its 8 warps split the keys for the scores, then the channels for the values, so
// that only probabilities cross warps. Keys and values of up to 320 slots lie in shared memory; more go round again.
// Bound: latency. Slots of a row's first range may be fetched before the dependency wait (KeyValues::settled).
// Reference: ReferenceKernels::attention.
#include <cmath>
#include <cstdint>

#include "backends/cuda/attention/span.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

constexpr int head = 128, tile_rows = 16, warps = 8, warp_keys = 40, tile_keys = warps * warp_keys;
constexpr int units = head / 8;                    // of 16 bytes, in a row of keys
constexpr int probability_stride = tile_keys + 8;  // bf16
constexpr int keys_bytes = tile_keys * head * 2;
constexpr int probability_bytes = tile_rows * probability_stride * 2;
constexpr int shared_bytes = 2 * keys_bytes + probability_bytes + 2 * warps * tile_rows * 4;

struct Arguments {
  const __nv_bfloat16* q;
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int4* ranges;
  __nv_bfloat16* y;
  int rows, heads, key_heads;
  bool settled;
  float scale;  // log2(e) / sqrt(d)
};

// Rows [begin, end) of the tile that starts at slot number `base`; 16-byte units are permuted against bank conflicts.
__device__ void load_slots(std::byte* keys, std::byte* values, const Arguments& a, const Span& span, int base,
                           int begin, int end, int group) {
  for (int i = begin * units + threadIdx.x; i < end * units; i += warps * 32) {
    const int row = i / units, unit = i % units;
    const std::int64_t at = (static_cast<std::int64_t>(span.slot(base + row)) * a.key_heads + group) * head + unit * 8;
    copy_async(keys + row * head * 2 + (unit ^ (row % 8)) * 16, a.keys + at);
    copy_async(values + row * head * 2 + (unit ^ (row % 8)) * 16, a.values + at);
  }
}

// Scores of this warp's 40 keys: s[n] holds rows quad, quad + 8 and keys 8 n + 2 pair, + 1.
__device__ void scores(float (&s)[warp_keys / 8][4], const uint4 (&q)[units / 2], const std::byte* keys,
                       int first_key) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < warp_keys / 8; ++n) {
#pragma unroll
    for (float& value : s[n]) value = 0;
  }
#pragma unroll
  for (int c = 0; c < units / 4; ++c) {
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) {
      const int row = first_key + n * 8 + lane % 8;
      const uint4 k = load_matrices<false>(keys + row * head * 2 + ((c * 4 + lane / 8) ^ (row % 8)) * 16);
      multiply(s[n], q[2 * c], k.x, k.y);
      multiply(s[n], q[2 * c + 1], k.z, k.w);
    }
  }
}

// o [16, 16 channels of this warp] += p [16, count] v
__device__ void weigh_values(float (&o)[2][4], const std::byte* probabilities, const std::byte* values, int count) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int p_row = lane % 16, p_half = lane / 16, v_row = lane % 16, v_unit = warp * 2 + lane / 16;
  float more[2][4] = {};  // of every other 16 keys, so that products do not wait for each other
  const auto weigh = [&](float(&sum)[2][4], int k) {
    const uint4 p = load_matrices<false>(probabilities + (p_row * probability_stride + k + p_half * 8) * 2);
    const int row = k + v_row;
    const uint4 v = load_matrices<true>(values + row * head * 2 + (v_unit ^ (row % 8)) * 16);
    multiply(sum[0], p, v.x, v.y);
    multiply(sum[1], p, v.z, v.w);
  };
  int k = 0;
#pragma unroll 3
  for (; k + 32 <= count; k += 32) {
    weigh(o, k);
    weigh(more, k + 16);
  }
  if (k < count) weigh(o, k);
#pragma unroll
  for (int i = 0; i < 8; ++i) o[i / 4][i % 4] += more[i / 4][i % 4];
}

__global__ void __launch_bounds__(warps * 32, 2) attention_narrow_kernel(const Arguments a) {
  extern __shared__ __align__(128) std::byte shared[];
  std::byte* keys = shared;
  std::byte* values = shared + keys_bytes;
  std::byte* probabilities = shared + 2 * keys_bytes;
  auto* maxima = reinterpret_cast<float*>(probabilities + probability_bytes);  // [warps][16]
  float* sums = maxima + warps * tile_rows;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, quad = lane / 4, pair = lane % 4;
  const int head_index = blockIdx.x, group = head_index / (a.heads / a.key_heads), first_row = blockIdx.y * tile_rows;

#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
  int4 range[1] = {make_int4(0, 0, 0, 0)};
  if (lane < tile_rows && first_row + lane < a.rows) range[0] = a.ranges[first_row + lane];
  const Span span = span_of(range);
  int4 mine[2];  // ranges of rows quad and quad + 8
  for (int s = 0; s < 2; ++s) {
    mine[s] = make_int4(__shfl_sync(~0u, range[0].x, quad + 8 * s), __shfl_sync(~0u, range[0].y, quad + 8 * s),
                        __shfl_sync(~0u, range[0].z, quad + 8 * s), __shfl_sync(~0u, range[0].w, quad + 8 * s));
  }
  const int early = a.settled ? min(span.first_count, tile_keys) : 0;
  load_slots(keys, values, a, span, 0, 0, early, group);
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif

  uint4 q[units / 2];
  const auto* source = reinterpret_cast<const uint4*>(a.q) +
                       (static_cast<std::int64_t>(blockIdx.y) * a.heads + head_index) * (units / 2) * 32 + lane;
#pragma unroll
  for (int step = 0; step < units / 2; ++step) q[step] = __ldcg(source + step * 32);
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0}, o[2][4] = {};
  for (int base = 0; base < span.total; base += tile_keys) {
    const int count = min(tile_keys, span.total - base), padded = (count + 15) / 16 * 16;
    if (base > 0) __syncthreads();  // the tile before has been read
    load_slots(keys, values, a, span, base, base == 0 ? early : 0, count, group);
    for (int i = count * units + threadIdx.x; i < padded * units; i += warps * 32) {  // zero times garbage may be NaN
      *reinterpret_cast<uint4*>(values + i * 16) = make_uint4(0, 0, 0, 0);
    }
    copies_commit();
    copies_wait<0>();
    __syncthreads();

    float s[warp_keys / 8][4];
    scores(s, q, keys, warp * warp_keys);
    float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int j = warp * warp_keys + n * 8 + 2 * pair + e % 2;
        const bool visible = j < count && sees(mine[e / 2], span, base + j);
        s[n][e] = visible ? s[n][e] * a.scale : -INFINITY;
        top[e / 2] = fmaxf(top[e / 2], s[n][e]);
      }
    }
    for (int r = 0; r < 2; ++r) {
      top[r] = quad_max(top[r]);
      if (pair == 0) maxima[warp * tile_rows + quad + 8 * r] = top[r];
    }
    __syncthreads();
    float shrink[2];
    for (int r = 0; r < 2; ++r) {
      float now = largest[r];
      for (int w = 0; w < warps; ++w) now = fmaxf(now, maxima[w * tile_rows + quad + 8 * r]);
      shrink[r] = now == -INFINITY ? 1.0f : exp2f(largest[r] - now);
      largest[r] = now;
    }
    float part[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float first = s[n][2 * r] == -INFINITY ? 0.0f : exp2f(s[n][2 * r] - largest[r]);
        const float second = s[n][2 * r + 1] == -INFINITY ? 0.0f : exp2f(s[n][2 * r + 1] - largest[r]);
        part[r] += first + second;
        const int at = (quad + 8 * r) * probability_stride + warp * warp_keys + n * 8 + 2 * pair;
        *reinterpret_cast<__nv_bfloat162*>(probabilities + at * 2) = __floats2bfloat162_rn(first, second);
      }
    }
    for (int r = 0; r < 2; ++r) {
      part[r] = quad_sum(part[r]);
      if (pair == 0) sums[warp * tile_rows + quad + 8 * r] = part[r];
    }
    __syncthreads();
    for (int r = 0; r < 2; ++r) {
      total[r] *= shrink[r];
      for (int w = 0; w < warps; ++w) total[r] += sums[w * tile_rows + quad + 8 * r];
      for (int n = 0; n < 2; ++n) o[n][2 * r] *= shrink[r], o[n][2 * r + 1] *= shrink[r];
    }
    weigh_values(o, probabilities, values, padded);
  }
  float inverse[2];
  for (int r = 0; r < 2; ++r) inverse[r] = total[r] > 0 ? 1.0f / total[r] : 0.0f;
  __nv_bfloat162 out[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int n = i / 2, r = i % 2;
    out[i] = __floats2bfloat162_rn(o[n][2 * r] * inverse[r], o[n][2 * r + 1] * inverse[r]);
  }
  auto* target = reinterpret_cast<uint4*>(a.y) +
                 ((static_cast<std::int64_t>(blockIdx.y) * a.heads + head_index) * (units / 2) + warp) * 32 + lane;
  *target = *reinterpret_cast<const uint4*>(out);
}

}  // namespace

void attention_narrow(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache,
                      const Tensor& ranges, const Heads& heads) {
  check(q.tiled && y.tiled && heads.size == head, "attention_narrow: tiled rows, heads of 128");
  const Arguments arguments{.q = static_cast<const __nv_bfloat16*>(q.data),
                            .keys = static_cast<const __nv_bfloat16*>(cache.keys.data),
                            .values = static_cast<const __nv_bfloat16*>(cache.values.data),
                            .ranges = static_cast<const int4*>(ranges.data),
                            .y = static_cast<__nv_bfloat16*>(y.data),
                            .rows = static_cast<int>(q.rows),
                            .heads = static_cast<int>(heads.query),
                            .key_heads = static_cast<int>(heads.key_value),
                            .settled = cache.settled,
                            .scale = 1.4426950408889634f / std::sqrt(static_cast<float>(head))};
  launch(stream,
         {.blocks = dim3(static_cast<unsigned>(heads.query), blocks_for(q.rows, tile_rows)),
          .threads = warps * 32,
          .shared = shared_bytes},
         attention_narrow_kernel, arguments);
}

}  // namespace nervus::cuda
