// y [T, H d] = softmax(q k^T / sqrt(d)) v, bf16 (y also f16 or e4m3), d = 64, 80 or 128, softmax in float32.
// Work: a block is 64 rows of one head, in the order that is given where one is. The tensor unit fetches keys and
// values in blocks of 64 slots, two on their way for each warpgroup; a warpgroup multiplies all rows by such a block,
// and sums are rescaled when a larger score comes. Blocks of slots that no row of the tile sees are left out. Where
// there are few tiles for the device, two warpgroups take the blocks of slots in turn and join at last. Those of the
// first ranges may be on their way before the dependency wait (Visible::settled). Bound: latency, then the softmax: 64
// x 64 scores are 0.1 us of products and some 0.2 of everything else; 264 rows of 16 heads are 0.6 GFLOP. Reference:
// ReferenceKernels::attention.
#include <cmath>

#include "backends/cuda/attention/sums_sm90.cuh"
#include "backends/cuda/device/tensor_map.h"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/trace.cuh"

namespace nervus::cuda {
namespace {

constexpr int depth = 2;
constexpr unsigned few_tiles = 264;  // two for each multiprocessor of a large device

struct Arguments {
  const __nv_bfloat16* q;
  const int4* ranges;
  const int* order;  // or null
  int rows, heads;
  bool settled;
  float scale;  // score_scale
  [[no_unique_address]] Trace trace;
};

// Of queries, keys or values: boxes of 64 rows by 64 and by 16 columns.
struct Maps {
  CUtensorMap wide, narrow;
};

template <int D, int Teams>
struct Shared {
  std::byte q[Matrix<D>::bytes];
  std::byte blocks[Teams][depth][2][Matrix<D>::bytes];  // of keys, of values
  std::uint64_t full[Teams][depth][2], full_q;
  States<Teams> states;
  TilePlan plan;
};

// A head's columns of 64 rows, asked for by one thread.
template <int D>
__device__ void fetch(std::byte* to, std::uint64_t* full, const Maps& maps, int row, int head) {
  using M = Matrix<D>;
#pragma unroll
  for (int part = 0; part < M::wide; ++part)
    tensor_load(to + part * wide_bytes, maps.wide, head * D + part * 64, row, full);
  if constexpr (M::narrow > 0) tensor_load(to + M::wide * wide_bytes, maps.narrow, head * D + M::wide * 64, row, full);
}

// The queries of a tile whose rows lie anywhere, by all threads; they are there when all have met.
template <int D, int Teams>
__device__ void gather_queries(Shared<D, Teams>& shared, const Arguments& a, int head) {
  constexpr int units = D / 8;
  for (int i = threadIdx.x; i < tile_rows * units; i += Teams * team_threads) {
    const std::int64_t row = max(shared.plan.rows[i / units], 0);
    copy_async(shared.q + Matrix<D>::place(i / units, i % units), a.q + (row * a.heads + head) * D + i % units * 8);
  }
  copies_commit();
  copies_wait<0>();
  proxy_fence();
  __syncthreads();
}

// The threads of a team have come this far.
__device__ inline void team_meet(int team) {
  asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "n"(team_threads) : "memory");
}

// Zeros for the values of what lies behind a block's last slot: zero times garbage may be NaN.
template <int D>
__device__ void clear_behind(std::byte* values, int slots, int team) {
  constexpr int units = D / 8;
#pragma unroll 1
  for (int i = slots * units + static_cast<int>(threadIdx.x) % team_threads; i < block_keys * units; i += team_threads)
    *reinterpret_cast<uint4*>(values + Matrix<D>::place(i / units, i % units)) = make_uint4(0, 0, 0, 0);
  proxy_fence();
  team_meet(team);
}

// s becomes 2^(scale s - largest), zero where a row does not see; returns what earlier sums shrink by. `sights` are
// what the two rows see of the block; they are not asked where every row of the warp sees `all`.
__device__ float2 soften(float (&s)[block_keys / 2], Running& running, const int2 (&sights)[2], bool all, float scale) {
  if (!all) {
    const int pair = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < block_keys / 2; ++i) {
      s[i] = sees(sights[i % 4 / 2], i / 4 * 8 + i % 2 + pair) ? s[i] : -INFINITY;
    }
  }
  float top[2] = {-INFINITY, -INFINITY}, shrink[2];
#pragma unroll
  for (int i = 0; i < block_keys / 2; ++i) top[i % 4 / 2] = fmaxf(top[i % 4 / 2], s[i]);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float before = running.largest[r];
    running.largest[r] = fmaxf(before, quad_max(top[r]) * scale);
    top[r] = running.largest[r] == -INFINITY ? 0.0f : running.largest[r];
    shrink[r] = power_of_two(before - top[r]);
    running.sum[r] *= shrink[r];
  }
#pragma unroll
  for (int i = 0; i < block_keys / 2; ++i) {
    s[i] = power_of_two(fmaf(s[i], scale, -top[i % 4 / 2]));
    running.sum[i % 4 / 2] += s[i];
  }
  return make_float2(shrink[0], shrink[1]);
}

template <int D, int Teams, typename Y>
__global__ void __launch_bounds__(team_threads* Teams, (D > 80 ? 2 : 4) / Teams)
    attention_tile_sm90_kernel(const Output<Y> y, const __grid_constant__ Maps q_maps,
                               const __grid_constant__ Maps key_maps, const __grid_constant__ Maps value_maps,
                               const Arguments a) {
  a.trace.begun();
  using M = Matrix<D>;
  extern __shared__ __align__(1024) std::byte memory[];
  Shared<D, Teams>& shared = *reinterpret_cast<Shared<D, Teams>*>(memory);
  const int team = threadIdx.x / team_threads, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const int quad = lane / 4, group = blockIdx.z, head = group * gridDim.y + blockIdx.y;
  const bool leads = threadIdx.x % team_threads == 0;
  if (leads) {
    for (auto& both : shared.full[team]) barrier_init(&both[0], 1), barrier_init(&both[1], 1);
    if (team == 0) barrier_init(&shared.full_q, 1);
    barrier_init_fence();
    map_prefetch(key_maps.wide), map_prefetch(value_maps.wide);
    if constexpr (M::narrow > 0) map_prefetch(key_maps.narrow), map_prefetch(value_maps.narrow);
  }
  const Span span = shared.plan.make(a.ranges, a.order, a.rows);  // ranges are of the call, not of a kernel before
  const int count = shared.plan.count;
  const auto fetch_block = [&](int index) {
    const int place = index / Teams % depth, slot = Block(span, shared.plan.seen[index]).base;
    for (int i = 0; i < 2; ++i) {
      std::uint64_t* full = &shared.full[team][place][i];
      barrier_expect(full, M::bytes);
      fetch<D>(shared.blocks[team][place][i], full, i == 0 ? key_maps : value_maps, slot, group);
    }
  };
  // Of the blocks that there is memory for, those of the first ranges or of the second.
  const auto fetch_blocks = [&](bool second) {
    for (int index = team; index < min(team + depth * Teams, count); index += Teams) {
      if (Block(span, shared.plan.seen[index]).second == second) fetch_block(index);
    }
  };
  if (leads && a.settled) fetch_blocks(false);
  begin();
  a.trace.free();
  const bool gathers = a.order != nullptr;
  if (leads) {
    if (team == 0 && !gathers) {
      barrier_expect(&shared.full_q, M::bytes);
      fetch<D>(shared.q, &shared.full_q, q_maps, blockIdx.x * tile_rows, head);
    }
    if (!a.settled) fetch_blocks(false);
    fetch_blocks(true);
  }
  if (gathers) gather_queries(shared, a, head);
  else barrier_wait(&shared.full_q, 0);

  const std::uint32_t q = shared_address(shared.q);
  const int rows[2] = {shared.plan.rows[warp * 16 + quad], shared.plan.rows[warp * 16 + quad + 8]};
  const int4 ranges[2] = {shared.plan.ranges[warp * 16 + quad], shared.plan.ranges[warp * 16 + quad + 8]};
  Sums<D> o;
  Running running;
  for (int index = team, turn = 0; index < count; index += Teams, ++turn) {
    const Block block(span, shared.plan.seen[index]);
    auto& matrices = shared.blocks[team][turn % depth];
    const std::uint32_t keys = shared_address(matrices[0]), values = shared_address(matrices[1]);
    std::uint64_t* full = shared.full[team][turn % depth];
    barrier_wait(full, turn / depth % 2);
    float s[block_keys / 2];
    products_begin();
#pragma unroll
    for (int k = 0; k < D / 16; ++k)
      WarpgroupProduct<__nv_bfloat16, block_keys>::add(s, M::columns(q, k), M::columns(keys, k), k > 0);
    products_commit();
    const int2 sights[2] = {block.sight(ranges[0]), block.sight(ranges[1])};
    const auto sees_all = [&](int r) { return rows[r] < 0 || (sights[r].x <= 0 && sights[r].y >= block_keys); };
    const bool all = __all_sync(~0u, sees_all(0) && sees_all(1));
    products_wait();
    const float2 shrink = soften(s, running, sights, all, a.scale);
#pragma unroll
    for (int i = 0; i < D / 2; ++i) o[i] *= i % 4 < 2 ? shrink.x : shrink.y;
    std::uint32_t p[block_keys / 16][4];
#pragma unroll
    for (int i = 0; i < block_keys / 4; ++i) p[i / 4][i % 4] = packed(s[2 * i], s[2 * i + 1]);
    barrier_wait(full + 1, turn / depth % 2);
    if (block.slots < block_keys) clear_behind<D>(matrices[1], block.slots, team);
    o.add(p, values);
    if (index + depth * Teams < count) {
      team_meet(team);  // all have read the block
      if (leads) fetch_block(index + depth * Teams);
    }
  }
  // What is given lies where values were, what is staged where the queries and the first keys were.
  using Out = Finish<D, Y>;
  static_assert(Out::given_bytes <= 3 * M::bytes && Out::staged_bytes <= 2 * M::bytes);
  std::byte *staged = shared.q, *given[2] = {shared.blocks[0][0][1], shared.blocks[Teams - 1][0][1]};
  shared.states.put(running, team);
  block_meet();  // and all have read the last block
  const bool joins = Teams == 2 && count > 1;
  const auto weight = [&](int r) { return shared.states.weight(warp * 16 + quad + 8 * r, team, joins); };
  const float weights[2] = {weight(0), weight(1)};
  if (joins) {
    if (team == 0) Out::template give<0>(given[1], o, weights);
    else Out::template give<1>(given[0], o, weights);
  }
  block_meet();
  if (!joins && team == 0) Out::template put<0, D / 8>(staged, nullptr, y, o, weights);
  if (joins && team == 0) Out::template put<0, D / 16>(staged, given[0], y, o, weights);
  if (joins && team == 1) Out::template put<D / 16, D / 8>(staged, given[1], y, o, weights);
  block_meet();
  Out::template store<Teams * team_threads>(staged, y.data, shared.plan.rows, a.heads, head);
  a.trace.ended();
}

// Of heads of `size` columns, of which 16 are left where they are not multiples of 64.
Maps maps_of(const Tensor& x, std::int64_t size) {
  return {tensor_map(x, block_keys), size % 64 == 0 ? CUtensorMap{} : tensor_map(x, block_keys, 32)};
}

}  // namespace

void attention_tile_sm90(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache,
                         const Visible& visible, const Heads& heads) {
  const Arguments arguments{.q = data<const __nv_bfloat16>(q),
                            .ranges = data<const int4>(visible.ranges),
                            .order = data<const int>(visible.order),
                            .rows = static_cast<int>(q.rows),
                            .heads = static_cast<int>(heads.query),
                            .settled = visible.settled,
                            .scale = score_scale(heads.size),
                            .trace = trace_launch("attention", q.columns)};
  const std::int64_t places = visible.order ? visible.order.columns : q.rows;
  const dim3 tiles(blocks_for(places, tile_rows), static_cast<unsigned>(heads.query / heads.key_value),
                   static_cast<unsigned>(heads.key_value));
  const Maps queries = maps_of(q, heads.size), keys = maps_of(cache.keys, heads.size),
             values = maps_of(cache.values, heads.size);
  const auto run_teams = [&](auto size, auto teams) {
    constexpr int D = decltype(size)::value, Teams = decltype(teams)::value;
    const Shape shape{
        .blocks = tiles, .threads = team_threads * Teams, .shared = static_cast<int>(sizeof(Shared<D, Teams>))};
    with_output(y, [&](auto output) {
      using Y = typename decltype(output)::type;
      if constexpr (sizeof(Y) <= 2)
        launch(stream, shape, attention_tile_sm90_kernel<D, Teams, Y>, output, queries, keys, values, arguments);
    });
  };
  const auto run = [&](auto size) {
    if (tiles.x * tiles.y * tiles.z <= few_tiles) run_teams(size, std::integral_constant<int, 2>{});
    else run_teams(size, std::integral_constant<int, 1>{});
  };
  if (heads.size == 64) run(std::integral_constant<int, 64>{});
  else if (heads.size == 80) run(std::integral_constant<int, 80>{});
  else run(std::integral_constant<int, 128>{});
}

}  // namespace nervus::cuda
