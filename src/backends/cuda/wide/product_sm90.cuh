// The product of a wide linear, bf16, e4m3 or int8, and what follows it in the same kernel.
//
//   sums [T, N] = x [T, K] W^T in float32, then the epilogue
//
// Work: a block makes Tile::rows x Tile::columns sums. One warp fetches tiles of x and W, 128 bytes of inputs a time,
// into a ring in shared memory; two warpgroups multiply what has come. Blocks of a cluster that have rows or outputs in
// common fetch a part each and send it to all, and those that split the inputs send their sums to the block that
// finishes the rows, which adds them in the order of the inputs. Weights are fetched before the dependency wait.
// Bound: the matrix unit, or what L2 can deliver: T N K (1 / Tile::columns + 1 / Tile::rows) elements, less what is
// shared. Reference: tests/reference/kernels.cpp, through the small ops that Ops composes.
#pragma once

#include <type_traits>

#include "backends/cuda/device/tensor_sm90.cuh"
#include "backends/cuda/device/wgmma_sm90.cuh"
#include "backends/cuda/wide/tile.h"

namespace nervus::cuda {

constexpr int wide_warps = 8;  // that multiply, in two warpgroups
constexpr int wide_shared_bytes = 227 << 10;
constexpr int wide_step_bytes = 128;  // of a row, in one stage of the ring

// A tile (tile.h) as the kernel's parameter.
template <int Rows, int Columns, int ShareW, int ShareX, int Split>
struct WideCut {
  static constexpr int rows = Rows, columns = Columns, share_w = ShareW, share_x = ShareX, split = Split;
  static constexpr int cluster = ShareW * ShareX * Split;
  static constexpr int sums = Rows / 128 * Columns / 2;  // a thread
  // Many sums take registers from the warps that fetch, which then are a warpgroup.
  static constexpr bool crowded = sums > 96;
  static constexpr int threads = wide_warps * 32 + (crowded ? 128 : 32);
};

struct WideArguments {
  int rows, outputs, steps;  // steps of 128 bytes of inputs
  int across;                // clusters along the rows
  const float* scale;        // of each output, or null for 1
  const float* bias;         // or null
  const float* gate;         // of sum and bias, or null
  const float* row_scales;   // of int8: of each row of x
};

template <typename Tile>
struct WideShared {
  static constexpr int x_bytes = Tile::rows * wide_step_bytes, w_bytes = Tile::columns * wide_step_bytes;
  static constexpr int stage_bytes = x_bytes + w_bytes;
  static constexpr int received_bytes = Tile::split > 1 ? Tile::rows* Tile::columns * 4 : 0;
  static constexpr int constant_bytes = Tile::columns * 8, barrier_bytes = 256;
  static constexpr int room = (wide_shared_bytes - received_bytes - constant_bytes - barrier_bytes) / stage_bytes;
  static constexpr int stages = room < 8 ? room : 8;
  static constexpr int received = stages * stage_bytes;
  static constexpr int constants = received + received_bytes;
  static constexpr int barriers = constants + constant_bytes;
  static constexpr int bytes = barriers + barrier_bytes;
};

// Where a block is, and whom it shares with.
template <typename Tile>
struct WidePlace {
  static constexpr int sharers = Tile::share_w * Tile::share_x;
  int share, part, row_tile, column_tile;

  __device__ explicit WidePlace(const WideArguments& a) {
    const int rank = static_cast<int>(blockIdx.x % Tile::cluster), cluster = blockIdx.x / Tile::cluster;
    share = rank % sharers, part = rank / sharers;
    row_tile = cluster % a.across * Tile::share_w + share % Tile::share_w;
    column_tile = cluster / a.across * Tile::share_x + share / Tile::share_w;
  }
  __device__ int first_step(const WideArguments& a) const { return a.steps * part / Tile::split; }
  __device__ int steps(const WideArguments& a) const { return a.steps * (part + 1) / Tile::split - first_step(a); }
  __device__ std::uint16_t blocks() const { return static_cast<std::uint16_t>(((1 << sharers) - 1) << part * sharers); }
};

// One thread: fills the ring. Weights of the first stages do not wait for the kernel before.
template <typename T, typename Tile>
__device__ void wide_fetch(const CUtensorMap& x, const CUtensorMap& w, const WideArguments& a,
                           const WidePlace<Tile>& place, std::byte* ring, std::uint64_t* full, std::uint64_t* empty) {
  using Shared = WideShared<Tile>;
  constexpr int step = wide_step_bytes / static_cast<int>(sizeof(T)), stages = Shared::stages;
  constexpr int x_rows = Tile::rows / Tile::share_x, w_rows = Tile::columns / Tile::share_w;  // that this block fetches
  const int count = place.steps(a), first = place.first_step(a);
  const int x_part = place.share / Tile::share_w * x_rows, w_part = place.share % Tile::share_w * w_rows;
  const auto fetch_w = [&](int k, int stage) {
    std::byte* target = ring + stage * Shared::stage_bytes + Shared::x_bytes + w_part * wide_step_bytes;
    const int column = (first + k) * step, row = place.column_tile * Tile::columns + w_part;
    if constexpr (Tile::share_w > 1) tensor_load(target, w, column, row, full + stage, place.blocks());
    else tensor_load(target, w, column, row, full + stage);
  };
  const auto fetch_x = [&](int k, int stage) {
    std::byte* target = ring + stage * Shared::stage_bytes + x_part * wide_step_bytes;
    const int column = (first + k) * step, row = place.row_tile * Tile::rows + x_part;
    if constexpr (Tile::share_x > 1) tensor_load(target, x, column, row, full + stage, place.blocks());
    else tensor_load(target, x, column, row, full + stage);
  };
  const int early = min(count, stages);
  for (int k = 0; k < early; ++k) {
    barrier_expect(full + k, Shared::stage_bytes);
    fetch_w(k, k);
  }
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  for (int k = 0; k < early; ++k) fetch_x(k, k);
  for (int k = stages, stage = 0, turn = 0; k < count; ++k) {
    barrier_wait(empty + stage, turn);
    barrier_expect(full + stage, Shared::stage_bytes);
    fetch_w(k, stage);
    fetch_x(k, stage);
    if (++stage == stages) stage = 0, turn ^= 1;
  }
}

// The two warpgroups: sums of 64 rows a tile, Tile::rows / 128 tiles each.
template <typename T, typename Tile, int Tiles, typename Sum>
__device__ void wide_multiply(Sum (&sums)[Tiles][Tile::columns / 2], const WideArguments& a,
                              const WidePlace<Tile>& place, const std::byte* ring, std::uint64_t* full,
                              std::uint64_t* empty) {
  using Shared = WideShared<Tile>;
  constexpr int stages = Shared::stages;
  const int group = threadIdx.x / 128, lane = threadIdx.x % 32, count = place.steps(a);
  const std::uint32_t x_begin = shared_address(ring) + group * Tiles * 64 * wide_step_bytes;
  const std::uint32_t w_begin = shared_address(ring) + Shared::x_bytes;
  const auto release = [&](int stage) {
    if (lane < WidePlace<Tile>::sharers) barrier_arrive(empty + stage, place.part * WidePlace<Tile>::sharers + lane);
  };
  for (int k = 0, stage = 0, turn = 0, before = 0; k < count; ++k) {
    barrier_wait(full + stage, turn);
    products_begin();
#pragma unroll
    for (int step = 0; step < wide_step_bytes; step += 32) {
      const std::uint64_t w = swizzled_tile(w_begin + stage * Shared::stage_bytes + step);
#pragma unroll
      for (int tile = 0; tile < Tiles; ++tile) {
        const std::uint32_t x = x_begin + stage * Shared::stage_bytes + tile * 64 * wide_step_bytes + step;
        WarpgroupProduct<T, Tile::columns>::add(sums[tile], swizzled_tile(x), w, k > 0 || step > 0);
      }
    }
    products_commit();
    products_wait_but_one();
    if (k > 0 && k - 1 + stages < count) release(before);  // nobody waits for what is not filled again
    before = stage;
    if (++stage == stages) stage = 0, turn ^= 1;
  }
  products_wait();
}

// Sums of integers as those of rows times their scales.
template <typename Tile, int Tiles>
__device__ void wide_scale_rows(float (&sums)[Tiles][Tile::columns / 2], const int (&whole)[Tiles][Tile::columns / 2],
                                const WideArguments& a, const WidePlace<Tile>& place) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int row = place.row_tile * Tile::rows + (warp / 4 * Tiles + tile) * 64 + warp % 4 * 16 + lane / 4;
    const float scales[2] = {__ldcg(a.row_scales + min(row, a.rows - 1)),
                             __ldcg(a.row_scales + min(row + 8, a.rows - 1))};
#pragma unroll
    for (int i = 0; i < Tile::columns / 2; ++i) sums[tile][i] = __int2float_rn(whole[tile][i]) * scales[i % 4 / 2];
  }
}

// The warps that multiply have come this far.
__device__ inline void wide_meet() { asm volatile("bar.sync 1, %0;" ::"n"(wide_warps * 32) : "memory"); }

// What a block's outputs are multiplied by, and what is added then.
template <typename Tile>
__device__ void wide_load_constants(float2* constants, const WideArguments& a, const WidePlace<Tile>& place) {
  for (int i = static_cast<int>(threadIdx.x); i < Tile::columns; i += wide_warps * 32) {
    const int n = min(place.column_tile * Tile::columns + i, a.outputs - 1);
    const float gate = a.gate != nullptr ? a.gate[n] : 1.0f;
    constants[i] =
        make_float2((a.scale != nullptr ? a.scale[n] : 1.0f) * gate, (a.bias != nullptr ? a.bias[n] : 0.0f) * gate);
  }
  wide_meet();
}

// Sums of two rows and outputs as the linear's values; `column` is that of the first output in the tile.
__device__ inline float4 wide_value(const float4& sum, const float2* constants, int column) {
  const float4 c = *reinterpret_cast<const float4*>(constants + column);
  return make_float4(sum.x * c.x + c.y, sum.y * c.z + c.w, sum.z * c.x + c.y, sum.w * c.z + c.w);
}

// Epilogue: `blocks` columns of 8 are finished together. rows(row, T) is what it needs of rows row and row + 8, also of
// such as are not there; inputs(rows, output) is what it loads ahead; finish() takes the values of both rows, of
// outputs output + 8 b and + 1.
template <typename Tile, typename Epilogue, int Tiles>
__device__ void wide_finish(const float (&sums)[Tiles][Tile::columns / 2], const WideArguments& a,
                            const WidePlace<Tile>& place, const float2* constants, const Epilogue& epilogue) {
  constexpr int Blocks = Epilogue::blocks, units = Tile::columns / 8 / Blocks, ahead = Epilogue::ahead;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, last = a.outputs - 8 * Blocks;
  const int first_output = place.column_tile * Tile::columns + lane % 4 * 2;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int row = place.row_tile * Tile::rows + (warp / 4 * Tiles + tile) * 64 + warp % 4 * 16 + lane / 4;
    const auto rows = epilogue.rows(row, a.rows);
#pragma unroll
    for (int first = 0; first < units; first += ahead) {
      typename Epilogue::Inputs inputs[ahead];
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        if (first + i < units) {
          inputs[i] = epilogue.inputs(rows, min(first_output + (first + i) * 8 * Blocks, last + lane % 4 * 2));
        }
      }
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        const int column = (first + i) * 8 * Blocks + lane % 4 * 2;
        if (first + i >= units || place.column_tile * Tile::columns + column >= a.outputs) continue;
        float4 values[Blocks];
#pragma unroll
        for (int b = 0; b < Blocks; ++b) {
          const float* s = sums[tile] + ((first + i) * Blocks + b) * 4;
          values[b] = wide_value(make_float4(s[0], s[1], s[2], s[3]), constants, column + 8 * b);
        }
        epilogue.finish(rows, place.column_tile * Tile::columns + column, values, inputs[i]);
      }
    }
  }
}

// The same through shared memory, which gathers eight channels of a row into one access: epilogue.stage() puts values
// of two rows, of channels channel and + 1 of each of its columns of 8, there; epilogue.early() is what it loads ahead
// for 8 channels of a row (output < 0: none); epilogue.store() takes them from there.
template <typename Tile, typename Epilogue, int Tiles>
__device__ void wide_finish_staged(const float (&sums)[Tiles][Tile::columns / 2], const WideArguments& a,
                                   const WidePlace<Tile>& place, const float2* constants, std::byte* memory,
                                   const Epilogue& epilogue) {
  constexpr int Blocks = Epilogue::blocks, chunks = Tile::columns / 8 / Blocks, items = (16 * chunks + 31) / 32;
  // Of a row: so that those of a warp's eight rows fall on different banks.
  constexpr int stride = (Epilogue::staged_bytes * chunks + 127) / 128 * 128 + 16;
  static_assert(wide_warps * 16 * stride <= WideShared<Tile>::received);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  std::byte* area = memory + warp * 16 * stride;
  wide_meet();  // nobody reads the ring any more
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int first_row = place.row_tile * Tile::rows + (warp / 4 * Tiles + tile) * 64 + warp % 4 * 16;
    const auto rows = epilogue.rows(first_row + lane % 16, a.rows);  // of lane % 16
    if (tile > 0) __syncwarp();
#pragma unroll
    for (int chunk = 0; chunk < chunks; ++chunk) {
      float4 values[Blocks];
#pragma unroll
      for (int b = 0; b < Blocks; ++b) {
        const float* s = sums[tile] + (chunk * Blocks + b) * 4;
        values[b] = wide_value(make_float4(s[0], s[1], s[2], s[3]), constants, (chunk * Blocks + b) * 8 + lane % 4 * 2);
      }
      std::byte* row = area + lane / 4 * stride;
      epilogue.template stage<chunks>(row, row + 8 * stride, chunk * 8 + lane % 4 * 2, values);
    }
    const auto row_of = [&](int i) { return min((i * 32 + lane) / chunks, 15); };
    const auto chunk_of = [&](int i) { return (i * 32 + lane) % chunks; };
    const auto output_of = [&](int i) {
      const int output = place.column_tile * Tile::columns + chunk_of(i) * 8 * Blocks;
      return i * 32 + lane < 16 * chunks && output < a.outputs ? output : -1;
    };
    typename Epilogue::Early early[items];
#pragma unroll
    for (int i = 0; i < items; ++i) early[i] = epilogue.early(rows, row_of(i), output_of(i));
    __syncwarp();
#pragma unroll
    for (int i = 0; i < items; ++i) {
      epilogue.template store<chunks>(early[i], output_of(i), area + row_of(i) * stride, chunk_of(i));
    }
  }
}

// The same where the inputs are split: a block finishes 1 / split of the rows, in units of 16 rows x 8 blocks outputs.
template <typename Tile, typename Epilogue>
__device__ void wide_finish_split(const float (&sums)[Tile::columns / 2], const WideArguments& a,
                                  const WidePlace<Tile>& place, const float2* constants, std::byte* memory,
                                  std::uint64_t* arrived, const Epilogue& epilogue) {
  constexpr int Blocks = Epilogue::blocks, across = Tile::columns / 8 / Blocks, tiles = Tile::rows / 16 / Tile::split;
  constexpr int units = tiles * across, rounds = (units + wide_warps - 1) / wide_warps;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, last = a.outputs - 8 * Blocks;
  auto* received = reinterpret_cast<float4*>(memory) + lane;
  const int owner = warp / tiles;  // the part that finishes this warp's rows
  const int owner_rank = owner * WidePlace<Tile>::sharers + place.share;
#pragma unroll
  for (int n = 0; n < Tile::columns / 8; ++n) {
    float4* at = received + (place.part * units * Blocks + warp % tiles * (Tile::columns / 8) + n) * 32;
    const float4 sum = make_float4(sums[4 * n], sums[4 * n + 1], sums[4 * n + 2], sums[4 * n + 3]);
    if (owner == place.part) *at = sum;
    else store_remote(remote_address(at, owner_rank), remote_address(arrived, owner_rank), sum);
  }
  const auto column_of = [&](int unit) { return unit % across * 8 * Blocks + lane % 4 * 2; };
  typename Epilogue::Rows rows[rounds];
  typename Epilogue::Inputs inputs[rounds];
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    const int unit = min(warp + i * wide_warps, units - 1);
    const int row = place.row_tile * Tile::rows + (place.part * tiles + unit / across) * 16 + lane / 4;
    rows[i] = epilogue.rows(row, a.rows);
    inputs[i] = epilogue.inputs(rows[i], min(place.column_tile * Tile::columns + column_of(unit), last + lane % 4 * 2));
  }
  wide_meet();
  barrier_wait(arrived, 0);
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    const int unit = warp + i * wide_warps, column = column_of(unit);
    if (unit >= units || place.column_tile * Tile::columns + column >= a.outputs) continue;
    float4 values[Blocks];
#pragma unroll
    for (int b = 0; b < Blocks; ++b) {
      float4 sum = received[(unit * Blocks + b) * 32];
#pragma unroll
      for (int part = 1; part < Tile::split; ++part) {
        const float4 more = received[((part * units + unit) * Blocks + b) * 32];
        sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
      }
      values[b] = wide_value(sum, constants, column + 8 * b);
    }
    epilogue.finish(rows[i], place.column_tile * Tile::columns + column, values, inputs[i]);
  }
}

template <typename T, typename Tile, typename Epilogue>
__global__ void __launch_bounds__(Tile::threads, 1)
    wide_product(const __grid_constant__ CUtensorMap x, const __grid_constant__ CUtensorMap w, const WideArguments a,
                 const Epilogue epilogue) {
  using Shared = WideShared<Tile>;
  constexpr int stages = Shared::stages, Tiles = Tile::rows / 128;
  static_assert(stages >= 2 && (2 * stages + 1) * 8 <= Shared::barrier_bytes);
  extern __shared__ __align__(1024) std::byte shared[];
  auto* full = reinterpret_cast<std::uint64_t*>(shared + Shared::barriers);
  std::uint64_t *empty = full + stages, *arrived = empty + stages;
  const WidePlace<Tile> place(a);
  if (threadIdx.x == wide_warps * 32) {
    map_prefetch(x), map_prefetch(w);
    for (int i = 0; i < stages; ++i) {
      barrier_init(full + i, 1);
      barrier_init(empty + i, WidePlace<Tile>::sharers * wide_warps);
    }
    barrier_init(arrived, 1);
    barrier_init_fence();
    if constexpr (Tile::split > 1)
      barrier_expect(arrived, Shared::received_bytes / Tile::split * (Tile::split - 1));  // but for its own
  }
  __syncthreads();
  if constexpr (Tile::cluster > 1) cluster_meet();
  if (threadIdx.x >= wide_warps * 32) {
    if constexpr (Tile::crowded) asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == wide_warps * 32) wide_fetch<T>(x, w, a, place, shared, full, empty);
    return;
  }
  if constexpr (Tile::crowded) asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  auto* constants = reinterpret_cast<float2*>(shared + Shared::constants);
  wide_load_constants<Tile>(constants, a, place);
  float sums[Tiles][Tile::columns / 2];
  if constexpr (sizeof(T) == 1 && std::is_integral_v<T>) {
    int whole[Tiles][Tile::columns / 2];
    wide_multiply<T, Tile>(whole, a, place, shared, full, empty);
    cudaGridDependencySynchronize();
    wide_scale_rows<Tile>(sums, whole, a, place);
  } else {
    wide_multiply<T, Tile>(sums, a, place, shared, full, empty);
    cudaGridDependencySynchronize();  // of what the epilogue reads and overwrites
  }
  if constexpr (Tile::split > 1) {
    static_assert(Tiles == 1);
    wide_finish_split<Tile>(sums[0], a, place, constants, shared + Shared::received, arrived, epilogue);
  } else if constexpr (Epilogue::staged_bytes > 0) {
    wide_finish_staged<Tile>(sums, a, place, constants, shared, epilogue);
  } else {
    wide_finish<Tile>(sums, a, place, constants, epilogue);
  }
}

}  // namespace nervus::cuda
