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
    uint4 k[warp_keys / 8];
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) {
      const int row = first_key + n * 8 + lane % 8;
      k[n] = load_matrices<false>(keys + row * head * 2 + ((c * 4 + lane / 8) ^ (row % 8)) * 16);
    }
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) multiply(s[n], q[2 * c], k[n].x, k[n].y);
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) multiply(s[n], q[2 * c + 1], k[n].z, k[n].w);
  }
}

// o [16, 16 channels of this warp] += p [16, count] v, 64 keys at a time: loads first, then two chains of products.
__device__ void weigh_values(float (&o)[2][4], const std::byte* probabilities, const std::byte* values, int count) {
  const int lane = threadIdx.x % 32, unit = threadIdx.x / 32 * 2 + lane / 16;
  const std::byte* p_row = probabilities + (lane % 16 * probability_stride + lane / 16 * 8) * 2;
  const std::byte* v_row = values + lane % 16 * head * 2 + (unit ^ (lane % 8)) * 16;
  float more[2][4] = {};
  for (int k = 0; k < count; k += 64) {
    uint4 p[4], v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[i] = load_matrices<false>(p_row + (k + i * 16) * 2);
      v[i] = load_matrices<true>(v_row + (k + i * 16) * head * 2);
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      multiply(o[0], p[i], v[i].x, v[i].y);
      multiply(o[1], p[i], v[i].z, v[i].w);
      multiply(more[0], p[i + 1], v[i + 1].x, v[i + 1].y);
      multiply(more[1], p[i + 1], v[i + 1].z, v[i + 1].w);
    }
  }
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

  int4 range[1] = {make_int4(0, 0, 0, 0)};
  if (lane < tile_rows && first_row + lane < a.rows) range[0] = a.ranges[first_row + lane];
  const Span span = span_of(range);
  const auto range_of = [&](int row) {
    return make_int4(__shfl_sync(~0u, range[0].x, row), __shfl_sync(~0u, range[0].y, row),
                     __shfl_sync(~0u, range[0].z, row), __shfl_sync(~0u, range[0].w, row));
  };
  const Sight sights[2] = {{range_of(quad), span}, {range_of(quad + 8), span}};
  const int early = a.settled ? min(span.first_count, tile_keys) : 0;
  load_slots(keys, values, a, span, 0, 0, early, group);
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif

  uint4 q[units / 2];
  const auto* source = reinterpret_cast<const uint4*>(a.q) +
                       (static_cast<std::int64_t>(blockIdx.y) * a.heads + head_index) * (units / 2) * 32 + lane;
#pragma unroll
  for (int step = 0; step < units / 2; ++step) q[step] = __ldcg(source + step * 32);
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0}, o[2][4] = {};
  for (int base = 0; base < span.total; base += tile_keys) {
    const int count = min(tile_keys, span.total - base), padded = (count + 63) / 64 * 64;
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
        s[n][e] = sights[e / 2].sees(base + j) ? s[n][e] * a.scale : -INFINITY;
        top[e / 2] = fmaxf(top[e / 2], s[n][e]);
      }
    }
    for (int r = 0; r < 2; ++r) {
      top[r] = quad_max(top[r]);
      if (pair == 0) maxima[warp * tile_rows + quad + 8 * r] = top[r];
    }
    __syncthreads();
    float shrink[2], zero[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float now = largest[r];
#pragma unroll
      for (int w = 0; w < warps; ++w) now = fmaxf(now, maxima[w * tile_rows + quad + 8 * r]);
      zero[r] = now == -INFINITY ? 0.0f : now;
      shrink[r] = power_of_two(largest[r] - zero[r]);
      largest[r] = now;
    }
    float part[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < warp_keys / 8; ++n) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float first = power_of_two(s[n][2 * r] - zero[r]), second = power_of_two(s[n][2 * r + 1] - zero[r]);
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
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      total[r] *= shrink[r];
#pragma unroll
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
