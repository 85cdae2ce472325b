// y [T, H d] = softmax(q k^T / sqrt(d)) v for few rows: d = 128, bf16, y also e4m3, q and y tiled, softmax in float32.
// Work: a block is 16 rows of one head; its 8 warps split the keys for the scores, then the channels for the values, so
// that only probabilities cross warps. Keys and values of up to 320 slots lie in shared memory; more go round again.
// Probabilities take the place of keys, so that a block fits beside one of the kernel before (block/qkv_sm90.cu).
// Bound: latency, and the instructions after the dependency wait: what can be known before it is computed before it.
// Slots of a row's first range may be fetched before it too (Visible::settled). The rows of several samples come in an
// order (Visible::order), or tiles that two samples share would see the slots of both.
// Reference: ReferenceKernels::attention.
#include <cmath>
#include <cstdint>

#include "backends/cuda/attention/narrow_products.cuh"
#include "backends/cuda/attention/narrow_rows.cuh"
#include "backends/cuda/device/next.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/trace.cuh"

namespace nervus::cuda {
namespace {

using namespace narrow;

// What follows has weights to fetch: in bf16 twice as many, which take longer than what is left to do behind the wait.
template <typename Y>
constexpr Next next = sizeof(Y) == 2 ? Next::before_the_wait : Next::behind_the_wait;

struct Arguments {
  const __nv_bfloat16* q;
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int4* ranges;
  void* y;
  int rows, heads, key_heads;
  bool settled;
  Trace trace;
  float scale;       // score_scale
  float inverse;     // of y's scale
  const int* order;  // of the rows in tiles, -1 for none; or null
};

// Rows `row`, row + 16, ... below `end` of a tile, from slots `slot`, slot + 16, ...: this thread's 16 bytes of each;
// units are permuted against bank conflicts. Rows and slots go up together, so one step leads from each to the next.
struct SlotCopy {
  unsigned from;  // elements, in keys and in values
  unsigned to;    // the keys; values lie keys_bytes further
  int row, end;

  __device__ SlotCopy(const Arguments& a, const std::byte* tile, int group, int first_row, int first_slot, int last_row)
      : row(first_row + static_cast<int>(threadIdx.x) / units), end(last_row) {
    const int unit = threadIdx.x % units, slot = first_slot + static_cast<int>(threadIdx.x) / units;
    from = static_cast<unsigned>((slot * a.key_heads + group) * head + unit * 8);
    to = static_cast<unsigned>(__cvta_generic_to_shared(tile)) + row * head * 2 + (unit ^ (row % 8)) * 16;
  }
  __device__ void run(const Arguments& a) {
#pragma unroll 1
    for (; row < end; row += copied_rows) {
      copy_async_to(to, a.keys + from);
      copy_async_to(to + keys_bytes, a.values + from);
      from += copied_rows * a.key_heads * head;
      to += copied_rows * head * 2;
    }
  }
};

// Which of this thread's scores count, a bit each: bit 4 n + e is that of s[n][e] (see `scores`).
__device__ unsigned seen_bits(const Sight (&sights)[2], int first_key) {
  unsigned bits = 0;
#pragma unroll
  for (int i = 0; i < warp_keys / 2; ++i) {
    const int key = first_key + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
    bits |= (sights[i % 4 / 2].sees(key) ? 1u : 0u) << i;
  }
  return bits;
}

// Zeros for the values of rows [begin, end): zero times garbage may be NaN.
__device__ void clear_values(std::byte* values, int begin, int end) {
#pragma unroll 1
  for (int i = begin * units + threadIdx.x; i < end * units; i += warps * 32) {
    *reinterpret_cast<uint4*>(values + i * 16) = make_uint4(0, 0, 0, 0);
  }
}

__device__ int padded_keys(int count) { return (count + 63) / 64 * 64; }

// Of eight values, one a warp.
__device__ float largest_of(const float* values, float at_least) {
  const float4 a = *reinterpret_cast<const float4*>(values), b = *reinterpret_cast<const float4*>(values + 4);
  return fmaxf(fmaxf(fmaxf(at_least, fmaxf(a.x, a.y)), fmaxf(a.z, a.w)), fmaxf(fmaxf(b.x, b.y), fmaxf(b.z, b.w)));
}
__device__ float sum_of(const float* values) {
  const float4 a = *reinterpret_cast<const float4*>(values), b = *reinterpret_cast<const float4*>(values + 4);
  return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}

// Y: bf16 or e4m3. `Ordered`: rows by a.order.
template <typename Y, bool Ordered>
__global__ void __launch_bounds__(warps * 32, 2) attention_narrow_kernel(const Arguments a) {
  a.trace.begun();
  extern __shared__ __align__(128) std::byte shared[];
  std::byte* keys = shared;
  std::byte* values = shared + keys_bytes;
  std::byte* probabilities = shared;  // in the keys' place when all scores are there
  std::byte* q = shared + 2 * keys_bytes;
  auto* maxima = reinterpret_cast<float*>(q + q_bytes);
  float* sums = maxima + warps * tile_rows;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, quad = lane / 4, pair = lane % 4;
  const int group = blockIdx.y, head_index = group * gridDim.x + blockIdx.x, first_row = blockIdx.z * tile_rows;

  int4 range[1] = {make_int4(0, 0, 0, 0)};
  int own_row = -1;
  if constexpr (Ordered) {
    if (lane < tile_rows) own_row = a.order[first_row + lane];
    if (own_row >= 0) range[0] = a.ranges[own_row];
  } else {
    if (lane < tile_rows && first_row + lane < a.rows) range[0] = a.ranges[first_row + lane];
  }
  const Span span = span_of(range);
  const auto range_of = [&](int row) {
    return make_int4(__shfl_sync(~0u, range[0].x, row), __shfl_sync(~0u, range[0].y, row),
                     __shfl_sync(~0u, range[0].z, row), __shfl_sync(~0u, range[0].w, row));
  };
  const Sight sights[2] = {{range_of(quad), span}, {range_of(quad + 8), span}};
  // Of the tile that starts at slot number `base`: what lies in the first ranges, and what lies in the second.
  const auto first_part = [&](int base) {
    return SlotCopy(a, keys, group, 0, span.first + base, min(span.first_count - base, tile_keys));
  };
  const auto second_part = [&](int base) {
    const int row = max(span.first_count - base, 0);
    return SlotCopy(a, keys, group, row, span.second + base + row - span.first_count,
                    min(span.total - base, tile_keys));
  };
  if (a.settled) first_part(0).run(a);
  clear_values(values, min(span.total, tile_keys), padded_keys(min(span.total, tile_keys)));
  // What the wait is followed by is kept in shared memory, or the compiler would compute it then.
  auto* kept = reinterpret_cast<uint4*>(q) + threadIdx.x;
  const SlotCopy second = second_part(0);
  const int last_row = second.end;
  *kept = make_uint4(second.from, second.to, static_cast<unsigned>(second.row), seen_bits(sights, warp * warp_keys));
  const int rows[2] = {__shfl_sync(~0u, own_row, quad), __shfl_sync(~0u, own_row, quad + 8)};  // if Ordered
  const ScatteredRows<head, 2> scattered(rows, a.heads, head_index);
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.z) * a.heads + head_index) * (units / 2) * 32;
#if __CUDA_ARCH__ >= 900
  if constexpr (next<Y> == Next::before_the_wait) cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  a.trace.free();
  if constexpr (next<Y> == Next::behind_the_wait) cudaTriggerProgrammaticLaunchCompletion();
#endif

  const uint4 prepared = *kept;
  unsigned seen = prepared.w;
  if constexpr (Ordered) {
    scattered.copy_async(reinterpret_cast<std::uint32_t*>(kept), a.q, warp);
  } else {
    copy_async(kept, reinterpret_cast<const uint4*>(a.q) + at + threadIdx.x);
  }
  SlotCopy own = second;
  own.from = prepared.x, own.to = prepared.y, own.row = static_cast<int>(prepared.z), own.end = last_row;
  own.run(a);
  if (!a.settled) first_part(0).run(a);
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0}, o[2][4] = {};
  for (int base = 0; base < span.total; base += tile_keys) {
    const int count = min(tile_keys, span.total - base);
    if (base > 0) {
      __syncthreads();  // the tile before has been read
      first_part(base).run(a);
      second_part(base).run(a);
      clear_values(values, count, padded_keys(count));
      seen = seen_bits(sights, base + warp * warp_keys);
    }
    copies_commit();
    copies_wait<0>();
    __syncthreads();

    float s[warp_keys / 8][4];
    scores(s, q, keys, warp * warp_keys);
    float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < warp_keys / 2; ++i) {
      float& score = s[i / 4][i % 4];
      score = (seen >> i & 1) != 0 ? score * a.scale : -INFINITY;
      top[i % 4 / 2] = fmaxf(top[i % 4 / 2], score);
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      top[r] = quad_max(top[r]);
      if (pair == 0) maxima[(quad + 8 * r) * warps + warp] = top[r];
    }
    __syncthreads();  // and all have read the keys
    float shrink[2], zero[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float now = largest_of(maxima + (quad + 8 * r) * warps, largest[r]);
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
        const int column = warp * warp_keys + n * 8 + 2 * pair;
        *reinterpret_cast<__nv_bfloat162*>(probabilities + ((quad + 8 * r) * probability_stride + column) * 2) =
            __floats2bfloat162_rn(first, second);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      part[r] = quad_sum(part[r]);
      if (pair == 0) sums[(quad + 8 * r) * warps + warp] = part[r];
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      total[r] = total[r] * shrink[r] + sum_of(sums + (quad + 8 * r) * warps);
      for (int n = 0; n < 2; ++n) o[n][2 * r] *= shrink[r], o[n][2 * r + 1] *= shrink[r];
    }
    weigh_values(o, probabilities, values, padded_keys(count));
  }
  float inverse[2];
  for (int r = 0; r < 2; ++r) inverse[r] = total[r] > 0 ? 1.0f / total[r] : 0.0f;
  if constexpr (sizeof(Y) == 1) {  // a warp's channels are half of a tile's; a lane has four of each row
    float out[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) out[i] = o[i % 4 / 2][i / 4 * 2 + i % 2] * (inverse[i / 4] * a.inverse);
    if constexpr (Ordered) {
      const ScatteredRows<head, 1> stored(rows, a.heads, head_index);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float values[4] = {out[4 * r], out[4 * r + 1], out[4 * r + 2], out[4 * r + 3]};
        std::uint32_t word;
        store<4>(reinterpret_cast<Y*>(&word), values);
        stored.store(a.y, r, warp / 2, warp % 2, word);
      }
    } else {
      store<8>(static_cast<Y*>(a.y) + at * 8 + (warp / 2 * 32 + lane) * 16 + warp % 2 * 8, out);
    }
  } else {
    __nv_bfloat162 out[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int n = i / 2, r = i % 2;
      out[i] = __floats2bfloat162_rn(o[n][2 * r] * inverse[r], o[n][2 * r + 1] * inverse[r]);
    }
    if constexpr (Ordered) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        scattered.store(a.y, i % 2, warp, i / 2, *reinterpret_cast<const std::uint32_t*>(&out[i]));
    } else {
      static_cast<uint4*>(a.y)[at + warp * 32 + lane] = *reinterpret_cast<const uint4*>(out);
    }
  }
  a.trace.ended();
}

}  // namespace

void attention_narrow(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache,
                      const Visible& visible, const Heads& heads) {
  check(q.tiled && y.tiled && heads.size == head, "attention_narrow: tiled rows, heads of 128");
  const Arguments arguments{.q = static_cast<const __nv_bfloat16*>(q.data),
                            .keys = static_cast<const __nv_bfloat16*>(cache.keys.data),
                            .values = static_cast<const __nv_bfloat16*>(cache.values.data),
                            .ranges = static_cast<const int4*>(visible.ranges.data),
                            .y = y.data,
                            .rows = static_cast<int>(q.rows),
                            .heads = static_cast<int>(heads.query),
                            .key_heads = static_cast<int>(heads.key_value),
                            .settled = visible.settled,
                            .trace = trace_launch("attention", q.columns),
                            .scale = score_scale(head),
                            .inverse = 1.0f / y.scale,
                            .order = data<const int>(visible.order)};
  const std::int64_t places = visible.order ? visible.order.columns : q.rows;
  const auto start = [&](auto* kernel) {
    launch(stream,
           {.blocks = dim3(static_cast<unsigned>(heads.query / heads.key_value), static_cast<unsigned>(heads.key_value),
                           blocks_for(places, tile_rows)),
            .threads = warps * 32,
            .shared = shared_bytes},
           kernel, arguments);
  };
  const auto start_for = [&]<typename Y>(Type<Y>) {
    if (visible.order) start(attention_narrow_kernel<Y, true>);
    else start(attention_narrow_kernel<Y, false>);
  };
  if (y.dtype == DType::e4m3) start_for(Type<__nv_fp8_e4m3>{});
  else start_for(Type<__nv_bfloat16>{});
}

}  // namespace nervus::cuda
