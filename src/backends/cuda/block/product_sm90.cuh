// The product in the fused kernels of a block: 64 rows x N outputs a cluster, the inputs split over its blocks.
//
//   acc [64, N] = x [64, K] W^T, then the epilogue
//
// Work: a block has two warpgroups; each loads its rows' share of x from L2 straight into the registers that the matrix
// unit reads (x is tiled), and multiplies it by its share of W in shared memory (one bulk copy, in flight before the
// dependency wait). Partial sums meet in two hops: across the warpgroups through shared memory, then across the
// cluster, where each of the first four blocks finishes its share of the rows. Sums run in a fixed order. Bound: the
// hand-over from the kernel before, then L2 latency and the instructions between the dependency wait and the end, of
// which a warp issues one in three cycles or so: whatever can be known before the wait is computed before it. Weights
// are hidden while the kernel before runs. Reference: tests/reference/kernels.cpp, through the small ops that Ops
// composes.
#pragma once

#include "backends/cuda/block/layout.h"
#include "backends/cuda/block/load_sm90.cuh"
#include "backends/cuda/device/sm90.cuh"
#include "backends/cuda/device/wgmma_sm90.cuh"
#include "backends/kernels.h"

namespace nervus::cuda {

// What an epilogue makes of two neighbouring sums; those of a product in e4m3 are `Scaled`.
template <bool Scaled>
__device__ float2 biased(float2 sum, float2 unit, float2 bias) {
  if constexpr (Scaled) sum.x *= unit.x, sum.y *= unit.y;
  return make_float2(sum.x + bias.x, sum.y + bias.y);
}

// Inputs are of type T: bf16 or e4m3. Epilogue: `constants` before the dependency wait, `inputs` after it, `ready`
// while the sums are under way, `finish` when they are there, each of rows row and row + 8 and outputs output + 8 b,
// output + 8 b + 1 for b < Blocks.
template <typename T, int N, int C, int Steps, int Sure, typename Epilogue, bool Reuse>
__global__ void __launch_bounds__(launched_threads<T>, 512 / launched_threads<T>)
#ifdef NERVUS_TRACE  // noting takes registers, and with more of them blocks would come to lie elsewhere
    __maxnreg__(sizeof(T) > 1 ? 128 : (N == 96 ? 112 : (N == 48 ? 96 : 88)))
#endif
        block_product(const ProductArguments a, const Epilogue epilogue) {
  if (threadIdx.x >= block_threads) return;
  a.trace.begun();
  if (a.next == Next::at_once) cudaTriggerProgrammaticLaunchCompletion();
  constexpr int Blocks = Epilogue::blocks;
  using Shared = ProductShared<N, C, Steps, Epilogue, Reuse>;
  extern __shared__ __align__(128) std::byte shared[];
  auto* barriers = reinterpret_cast<std::uint64_t*>(shared + Shared::barriers);  // two of weights, one of sums
  auto* norms = reinterpret_cast<float*>(shared + Shared::norms);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = warp / 4;
  const int rank = static_cast<int>(cluster_rank()), tile = blockIdx.x / C, first_row = blockIdx.y * 64;
  constexpr int share = Shared::weight_bytes / 2;

  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) barrier_init(barriers + i);
    barrier_init(barriers + 2, 1 + Shared::local_warps * warp_arrivals);
    barrier_init_fence();
    const auto* source = reinterpret_cast<const std::byte*>(a.weight);
    for (int g = 0; g < 2; ++g) {
      barrier_expect(barriers + g, share);
      bulk_load(shared + g * share, source + (static_cast<std::int64_t>(tile * C + rank) * 2 + g) * share, share,
                barriers + g);
    }
    int lanes = 0;  // that send, of a warp for each 16 rows that this block finishes
    for (int t = 0; t < 4 / Shared::owners; ++t) {
      lanes += 4 * max(0, min(8, a.rows - first_row - rank * Shared::owned_rows - 16 * t));
    }
    if (rank < Shared::owners) barrier_expect(barriers + 2, (C - 1) * (N / 8) * 16 * lanes);
  }
  __syncwarp();
  cluster_arrive();

  const int owned = rank < Shared::owners ? first_row + rank * Shared::owned_rows : a.rows;  // first row to finish
  // Of unit i of this warp: the row (and the one 8 further) and the first output that this thread finishes.
  constexpr int rounds = (Shared::units + 7) / 8, across = N / 8 / Blocks;
  const auto row_of = [&](int i) { return owned + (warp + 8 * i) / across * 16 + lane / 4; };
  const auto output_of = [&](int i) { return tile * N + (warp + 8 * i) % across * 8 * Blocks + lane % 4 * 2; };
  typename Epilogue::Constants constants[rounds];
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    if (warp + 8 * i < Shared::units)
      constants[i] = epilogue.constants(row_of(i), output_of(i), a.rows, shared + Shared::own);
  }
  const bool present = first_row + warp % 4 * 16 + lane / 4 < a.rows;  // this lane's rows are not both padding
  const int first_step = (rank * 2 + group) * Steps, all_steps = a.inputs / step_inputs(sizeof(T));
  const auto* source = reinterpret_cast<const uint4*>(a.x) +
                       (static_cast<std::int64_t>(first_row / 16 + warp % 4) * all_steps + first_step) * 32 + lane;
  constexpr auto most_parts = 2 * C * Steps * step_inputs(sizeof(T)) / Residual::square_part;
  RowNorms<Shared::owned_rows, static_cast<int>(most_parts)> row_norms(a, owned);
  const std::uint64_t weights = tile_descriptor(shared_address(shared + group * share), N * 16, 128);
  auto* exchange = reinterpret_cast<float4*>(shared + Shared::exchange) + warp % 4 * (N / 8) * 32 + lane;
  const int owner = warp % 4 / (4 / Shared::owners);
  auto* received = reinterpret_cast<float4*>(shared + Shared::received) +
                   (rank * Shared::units * Blocks + warp % (4 / Shared::owners) * (N / 8)) * 32 + lane;
  const std::uint32_t remote = remote_address(received, owner), arrived = remote_address(barriers + 2, owner);
  cluster_wait();
  if (a.next == Next::before_the_wait) cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  a.trace.free();
  if (a.next == Next::behind_the_wait) cudaTriggerProgrammaticLaunchCompletion();

  uint4 x[Steps];
  load_operands<Steps, Sure>(x, source, present, all_steps - first_step);
  if constexpr (Epilogue::normed) row_norms.load();
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    if (warp + 8 * i < Shared::units) epilogue.inputs(constants[i], shared + Shared::own);
  }

  float acc[N / 2];
  barrier_wait(barriers + group, 0);
  products_begin();
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    const std::uint32_t operand[4] = {x[s].x, x[s].y, x[s].z, x[s].w};
    RegisterProduct<T, N>::add(acc, operand, weights + s * (32 * N / 16), s > 0);
  }
  products_commit();
  if constexpr (Epilogue::normed) row_norms.store(norms, a.inverse_width);
  products_wait();
  if constexpr (Reuse) __syncthreads();  // both warpgroups have read their weights

  // across the warpgroups: each hands the other half of its outputs over; across the cluster: each warp's 16 rows go to
  // the block that finishes them
  constexpr int half = N / 16;
  const auto give = [&](int n) {
    exchange[n * 32] = make_float4(acc[4 * n], acc[4 * n + 1], acc[4 * n + 2], acc[4 * n + 3]);
  };
  const auto send = [&](const auto& mine) {  // mine(n): tile n of this warpgroup's half
    float4 sum[half];
#pragma unroll
    for (int n = 0; n < half; ++n) {
      const float4 more = exchange[mine(n) * 32];
      const float* own = acc + 4 * mine(n);
      sum[n] = make_float4(own[0] + more.x, own[1] + more.y, own[2] + more.z, own[3] + more.w);
    }
    if (owner == rank) {
#pragma unroll
      for (int n = 0; n < half; ++n) received[mine(n) * 32] = sum[n];
      barrier_arrive_warp(barriers + 2);
    } else if (present) {
#pragma unroll
      for (int n = 0; n < half; ++n) store_remote(remote + mine(n) * 512, arrived, sum[n]);
    }
  };
  if (group == 0) {
#pragma unroll
    for (int n = half; n < 2 * half; ++n) give(n);
  } else {
#pragma unroll
    for (int n = 0; n < half; ++n) give(n);
  }
  __syncthreads();
  if (group == 0) send([](int n) { return n; });
  else send([](int n) { return n + half; });
  if (rank >= Shared::owners) a.trace.ended();
  if (rank >= Shared::owners || warp >= Shared::units) return;
  const auto ready = epilogue.ready(shared + Shared::own);
  float scales[rounds][2];
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    const int local_row = (warp + 8 * i) / across * 16 + lane / 4;
    if constexpr (Epilogue::normed) scales[i][0] = norms[local_row], scales[i][1] = norms[local_row + 8];
  }
  const auto* sums = reinterpret_cast<const float4*>(shared + Shared::received) + lane;
  barrier_wait(barriers + 2, 0);

#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    const int unit = warp + 8 * i;
    if (unit >= Shared::units) break;
    float4 sum[Blocks];
#pragma unroll
    for (int b = 0; b < Blocks; ++b) {
      sum[b] = sums[(unit * Blocks + b) * 32];
#pragma unroll
      for (int part = 1; part < C; ++part) {
        const float4 more = sums[((part * Shared::units + unit) * Blocks + b) * 32];
        sum[b].x += more.x, sum[b].y += more.y, sum[b].z += more.z, sum[b].w += more.w;
      }
      if constexpr (Epilogue::normed) {
        sum[b].x *= scales[i][0], sum[b].y *= scales[i][0];
        sum[b].z *= scales[i][1], sum[b].w *= scales[i][1];
      }
    }
    epilogue.finish(sum, constants[i], ready, shared + Shared::own);
  }
  if constexpr (!Epilogue::normed) {
    warps_meet(Shared::units * 32);
    epilogue.finish_rows(owned, tile, a.rows, shared + Shared::own);
  }
  a.trace.ended();
}

}  // namespace nervus::cuda
