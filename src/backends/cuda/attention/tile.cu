// y [T, H d] = softmax(q k^T / sqrt(d)) v, bf16 (y also f16 or e4m3), d = 64, 80 or 128, softmax in float32.
// Work: a block is 64 rows of one head, in the order that is given where one is, a warp 16 of them; keys and values go
// by in blocks of 64 slots, two in shared memory at a time, and sums are rescaled when a larger score comes. Blocks
// that no row of the tile sees are left out. For devices without the products of tile_sm90.cu. Bound: latency of a few
// blocks of keys; 264 rows of 16 heads are 0.6 GFLOP. Reference: ReferenceKernels::attention.
#include <algorithm>
#include <cmath>

#include "backends/cuda/attention/tile_plan.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {
namespace {

constexpr int threads = 128;

struct Arguments {
  const __nv_bfloat16* q;
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int4* ranges;
  const int* order;  // or null
  int rows, heads, key_heads;
  float scale;  // score_scale
};

template <int D>
struct Shared {
  static constexpr int stride = D + 8;  // rows fall on different banks
  __nv_bfloat16 q[tile_rows][stride];
  __nv_bfloat16 keys[2][block_keys][stride];
  __nv_bfloat16 values[2][block_keys][stride];
  TilePlan plan;
};

template <int D>
__device__ void load_block(Shared<D>& shared, const Arguments& a, const Span& span, int index, int group) {
  const Block block(span, shared.plan.seen[index]);
  const int buffer = index % 2;
  constexpr int units = D / 8;
  for (int i = threadIdx.x; i < block_keys * units; i += threads) {
    const int row = i / units, column = i % units * 8;
    if (row >= block.slots) {  // a weight of zero times garbage may be NaN
      *reinterpret_cast<uint4*>(&shared.values[buffer][row][column]) = make_uint4(0, 0, 0, 0);
      continue;
    }
    const std::int64_t at = (static_cast<std::int64_t>(block.base + row) * a.key_heads + group) * D + column;
    copy_async(&shared.keys[buffer][row][column], a.keys + at);
    copy_async(&shared.values[buffer][row][column], a.values + at);
  }
  copies_commit();
}

// s becomes 2^(scale s - largest), zero where a row does not see; returns what earlier sums shrink by.
__device__ float2 soften(float (&s)[block_keys / 8][4], Running& running, const int2 (&sights)[2], float scale) {
  const int pair = threadIdx.x % 4;
  float top[2] = {running.largest[0], running.largest[1]}, shrink[2];
#pragma unroll
  for (int n = 0; n < block_keys / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[n][e] = sees(sights[e / 2], n * 8 + 2 * pair + e % 2) ? s[n][e] * scale : -INFINITY;
      top[e / 2] = fmaxf(top[e / 2], s[n][e]);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float before = running.largest[r];
    running.largest[r] = quad_max(top[r]);
    top[r] = running.largest[r] == -INFINITY ? 0.0f : running.largest[r];
    shrink[r] = power_of_two(before - top[r]);
    running.sum[r] *= shrink[r];
  }
#pragma unroll
  for (int n = 0; n < block_keys / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[n][e] = power_of_two(s[n][e] - top[e / 2]);
      running.sum[e / 2] += s[n][e];
    }
  }
  return make_float2(shrink[0], shrink[1]);
}

template <int D, typename Y>
__global__ void __launch_bounds__(threads) attention_tile_kernel(const Output<Y> y, const Arguments a) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int quad = lane / 4, pair = lane % 4;
  const int head = blockIdx.y, group = head / (a.heads / a.key_heads);
  const Span span = shared.plan.make(a.ranges, a.order, a.rows);  // ranges are of the call, not of a kernel before
  begin();

  for (int i = threadIdx.x; i < tile_rows * (D / 8); i += threads) {
    const int row = i / (D / 8), column = i % (D / 8) * 8;
    const std::int64_t from = max(shared.plan.rows[row], 0);
    copy_async(&shared.q[row][column], a.q + (from * a.heads + head) * D + column);
  }
  copies_commit();
  if (shared.plan.count > 0) load_block(shared, a, span, 0, group);
  const int4 ranges[2] = {shared.plan.ranges[warp * 16 + quad], shared.plan.ranges[warp * 16 + quad + 8]};
  uint4 q[D / 16];
  float o[D / 8][4] = {};
  Running running;
  if (shared.plan.count > 0) copies_wait<1>();
  else copies_wait<0>();
  __syncthreads();
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    q[k] = load_matrices<false>(&shared.q[warp * 16 + lane % 16][k * 16 + lane / 16 * 8]);
  }
  for (int index = 0; index < shared.plan.count; ++index) {
    if (index + 1 < shared.plan.count) {
      load_block(shared, a, span, index + 1, group);
      copies_wait<1>();
    } else {
      copies_wait<0>();
    }
    __syncthreads();
    const auto& keys = shared.keys[index % 2];
    const auto& values = shared.values[index % 2];
    float s[block_keys / 8][4] = {};
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      uint4 b[block_keys / 16];  // 16 keys each: two matrices of 8, both halves of a step
#pragma unroll
      for (int n = 0; n < block_keys / 16; ++n) {
        b[n] = load_matrices<false>(&keys[n * 16 + lane / 16 * 8 + lane % 8][k * 16 + lane % 16 / 8 * 8]);
      }
#pragma unroll
      for (int n = 0; n < block_keys / 16; ++n) {
        multiply(s[2 * n], q[k], b[n].x, b[n].y);
        multiply(s[2 * n + 1], q[k], b[n].z, b[n].w);
      }
    }
    const Block block(span, shared.plan.seen[index]);
    const float2 shrink = soften(s, running, {block.sight(ranges[0]), block.sight(ranges[1])}, a.scale);
#pragma unroll
    for (auto& part : o) part[0] *= shrink.x, part[1] *= shrink.x, part[2] *= shrink.y, part[3] *= shrink.y;
#pragma unroll
    for (int k = 0; k < block_keys / 16; ++k) {
      const uint4 p = make_uint4(packed(s[2 * k][0], s[2 * k][1]), packed(s[2 * k][2], s[2 * k][3]),
                                 packed(s[2 * k + 1][0], s[2 * k + 1][1]), packed(s[2 * k + 1][2], s[2 * k + 1][3]));
      uint4 v[D / 16];
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        v[n] = load_matrices<true>(&values[k * 16 + lane % 16][n * 16 + lane / 16 * 8]);
      }
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        multiply(o[2 * n], p, v[n].x, v[n].y);
        multiply(o[2 * n + 1], p, v[n].z, v[n].w);
      }
    }
    __syncthreads();  // the buffers may be filled again
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = quad_sum(running.sum[r]), inverse = sum > 0 ? 1.0f / sum : 0.0f;
    const std::int64_t row = shared.plan.rows[warp * 16 + quad + 8 * r];
    if (row < 0) continue;
    const std::int64_t target = (row * a.heads + head) * D + 2 * pair;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      const float both[2] = {o[n][2 * r] * inverse, o[n][2 * r + 1] * inverse};
      y.store(target + n * 8, both);
    }
  }
}

}  // namespace

std::string attention_tile_refusal(const Tensor& y, const Tensor& q, const KeyValues& cache, const Heads& heads) {
  constexpr std::int64_t most_slots = static_cast<std::int64_t>(most_blocks - 1) * block_keys / 2;
  if (q.dtype != DType::bf16) return concat("the fast kernels compute in bf16, not ", name_of(q.dtype));
  if (y.dtype != DType::bf16 && y.dtype != DType::f16 && y.dtype != DType::e4m3)
    return concat("the fast kernels do not write ", name_of(y.dtype));
  if (heads.size != 64 && heads.size != 80 && heads.size != 128) {
    return concat("the fast kernels have heads of 64, 80 and 128 columns, not ", heads.size);
  }
  if (cache.keys.rows > most_slots) {
    return concat("the fast kernels have up to ", most_slots, " slots, not ", cache.keys.rows);
  }
  return "";
}

void attention_tile(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache,
                    const Visible& visible, const Heads& heads) {
  const Arguments arguments{.q = data<const __nv_bfloat16>(q),
                            .keys = data<const __nv_bfloat16>(cache.keys),
                            .values = data<const __nv_bfloat16>(cache.values),
                            .ranges = data<const int4>(visible.ranges),
                            .order = data<const int>(visible.order),
                            .rows = static_cast<int>(q.rows),
                            .heads = static_cast<int>(heads.query),
                            .key_heads = static_cast<int>(heads.key_value),
                            .scale = score_scale(heads.size)};
  const std::int64_t places = std::max(visible.order.columns, q.rows);
  const dim3 blocks(blocks_for(places, tile_rows), static_cast<unsigned>(heads.query));
  const auto run = [&](auto size) {
    constexpr int D = decltype(size)::value;
    const Shape shape{.blocks = blocks, .threads = threads, .shared = static_cast<int>(sizeof(Shared<D>))};
    with_output(y, [&](auto output) {
      using Y = typename decltype(output)::type;
      if constexpr (sizeof(Y) <= 2) launch(stream, shape, attention_tile_kernel<D, Y>, output, arguments);
    });
  };
  if (heads.size == 64) run(std::integral_constant<int, 64>{});
  else if (heads.size == 80) run(std::integral_constant<int, 80>{});
  else run(std::integral_constant<int, 128>{});
}

}  // namespace nervus::cuda
