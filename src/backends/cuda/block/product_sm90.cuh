// The product in the fused kernels of a block: 64 rows x N outputs a cluster, the inputs split over its blocks.
//
//   acc [64, N] = x [64, K] W^T, then the epilogue
//
// Work: a block has two warpgroups; each loads its rows' share of x from L2 straight into the registers that the matrix
// unit reads (x is tiled), and multiplies it by its share of W in shared memory (one bulk copy, in flight before the
// dependency wait). Partial sums meet in two hops: across the warpgroups through shared memory, then across the
// cluster, where each of the first four blocks finishes its share of the rows. Sums run in a fixed order. Bound: the
// hand-over from the kernel before, then L2 latency; weights are hidden while the kernel before runs. Reference:
// tests/reference/kernels.cpp, through the small ops that Ops composes.
#pragma once

#include "backends/cuda/device/sm90.cuh"

namespace nervus::cuda {

constexpr float norm_epsilon = 1e-6f;
constexpr int block_threads = 256;

struct ProductArguments {
  const __nv_bfloat16* x;       // tiled [rows, inputs]
  const __nv_bfloat16* weight;  // packed
  const float* squares;         // [rows, parts], or null
  int rows, inputs, parts;
};

// Shared memory of a block. A unit is what a warp finishes at once: 16 rows x 8 Blocks outputs.
template <int N, int C, int Steps, typename Epilogue>
struct ProductShared {
  static constexpr int Blocks = Epilogue::blocks;
  static constexpr int owners = C < 4 ? C : 4;  // blocks that finish rows
  static constexpr int owned_rows = 64 / owners;
  static constexpr int units = 4 / owners * (N / 8 / Blocks);
  static constexpr int weight_bytes = 2 * Steps * 32 * N;
  static constexpr int exchange = weight_bytes;             // [4 warps][N / 8][32] float4
  static constexpr int received = exchange + N / 8 * 2048;  // [C][units][Blocks][32] float4
  static constexpr int received_bytes = C * units * Blocks * 512;
  static constexpr int norms = received + received_bytes;  // [owned_rows]
  static constexpr int own = norms + 256;                  // the epilogue's
  static constexpr int barriers = own + Epilogue::shared_bytes;
  static constexpr int bytes = barriers + 32;
};

// One 1 / rms(h) a row that this block finishes, from the sums that the kernel before left: loaded before the product,
// added up while it runs. At most `most` parts a thread.
template <int rows>
struct RowNorms {
  static constexpr int threads = block_threads / rows, most = 8;
  float squares[most];

  __device__ void load(const ProductArguments& a, int first_row) {
    const int row = first_row + static_cast<int>(threadIdx.x) / threads, lane = threadIdx.x % threads;
#pragma unroll
    for (int i = 0; i < most; ++i) {
      const int part = lane + i * threads;
      squares[i] =
          row < a.rows && part < a.parts ? __ldcg(a.squares + static_cast<std::int64_t>(row) * a.parts + part) : 0;
    }
  }
  __device__ void store(float* norms, int width) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < most; ++i) sum += squares[i];
#pragma unroll
    for (int step = threads / 2; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x % threads == 0)
      norms[threadIdx.x / threads] = rsqrtf(sum / static_cast<float>(width) + norm_epsilon);
  }
};

// Epilogue: `constants` before the dependency wait, `inputs` after it, `finish` when the sums are there, each of rows
// row and row + 8 and outputs output + 8 b, output + 8 b + 1 for b < Blocks.
template <int N, int C, int Steps, typename Epilogue>
__global__ void __launch_bounds__(block_threads, 2) block_product(const ProductArguments a, const Epilogue epilogue) {
  constexpr int Blocks = Epilogue::blocks;
  using Shared = ProductShared<N, C, Steps, Epilogue>;
  extern __shared__ __align__(128) std::byte shared[];
  auto* barriers = reinterpret_cast<std::uint64_t*>(shared + Shared::barriers);  // two of weights, one of sums
  auto* norms = reinterpret_cast<float*>(shared + Shared::norms);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = warp / 4;
  const int rank = static_cast<int>(cluster_rank()), tile = blockIdx.x / C, first_row = blockIdx.y * 64;
  constexpr int share = Shared::weight_bytes / 2;

  if (threadIdx.x == 0) {
    for (int i = 0; i < 3; ++i) barrier_init(barriers + i);
    barrier_init_fence();
    const auto* source = reinterpret_cast<const std::byte*>(a.weight);
    for (int g = 0; g < 2; ++g) {
      barrier_expect(barriers + g, share);
      bulk_load(shared + g * share, source + (static_cast<std::int64_t>(tile * C + rank) * 2 + g) * share, share,
                barriers + g);
    }
    if (rank < Shared::owners) barrier_expect(barriers + 2, Shared::received_bytes);
  }
  __syncthreads();
  cluster_meet();

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
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();  // not before: weights of two kernels ahead would arrive too soon

  RowNorms<Shared::owned_rows> row_norms;
  if constexpr (Epilogue::normed) row_norms.load(a, owned);
  uint4 x[Steps];
  const bool present = first_row + warp % 4 * 16 + lane / 4 < a.rows;  // this lane's rows are not both padding
  const int first_step = (rank * 2 + group) * Steps, all_steps = a.inputs / 16;
  const auto* source = reinterpret_cast<const uint4*>(a.x) +
                       (static_cast<std::int64_t>(first_row / 16 + warp % 4) * all_steps + first_step) * 32 + lane;
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    x[s] = present && first_step + s < all_steps ? __ldcg(source + s * 32) : make_uint4(0, 0, 0, 0);
  }
  typename Epilogue::Inputs inputs[rounds];
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    if (warp + 8 * i < Shared::units)
      inputs[i] = epilogue.inputs(row_of(i), output_of(i), a.rows, shared + Shared::own);
  }

  float acc[N / 2];
  barrier_wait(barriers + group, 0);
  products_begin();
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    const std::uint32_t address = shared_address(shared + group * share + s * 32 * N);
    const std::uint32_t operand[4] = {x[s].x, x[s].y, x[s].z, x[s].w};
    warpgroup_product<N>(acc, operand, tile_descriptor(address, N * 16, 128), s > 0);
  }
  products_commit();
  if constexpr (Epilogue::normed) row_norms.store(norms, a.inputs);
  products_wait();

  // across the warpgroups: each hands the other half of its outputs over; across the cluster: each warp's 16 rows go to
  // the block that finishes them
  constexpr int half = N / 16;
  auto* exchange = reinterpret_cast<float4*>(shared + Shared::exchange) + warp % 4 * (N / 8) * 32 + lane;
  auto* received = reinterpret_cast<float4*>(shared + Shared::received) +
                   (rank * Shared::units * Blocks + warp % (4 / Shared::owners) * (N / 8)) * 32 + lane;
  const auto give = [&](int n) {
    exchange[n * 32] = make_float4(acc[4 * n], acc[4 * n + 1], acc[4 * n + 2], acc[4 * n + 3]);
  };
  const auto send = [&](int n) {
    const float4 more = exchange[n * 32];
    store_remote(
        received + n * 32, barriers + 2, warp % 4 / (4 / Shared::owners),
        make_float4(acc[4 * n] + more.x, acc[4 * n + 1] + more.y, acc[4 * n + 2] + more.z, acc[4 * n + 3] + more.w));
  };
  if (group == 0) {
#pragma unroll
    for (int n = half; n < 2 * half; ++n) give(n);
  } else {
#pragma unroll
    for (int n = 0; n < half; ++n) give(n);
  }
  __syncthreads();
  if (group == 0) {
#pragma unroll
    for (int n = 0; n < half; ++n) send(n);
  } else {
#pragma unroll
    for (int n = half; n < 2 * half; ++n) send(n);
  }
  if (rank >= Shared::owners) return;
  barrier_wait(barriers + 2, 0);
  const auto* sums = reinterpret_cast<const float4*>(shared + Shared::received) + lane;

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
        const int local_row = unit / across * 16 + lane / 4;
        sum[b].x *= norms[local_row], sum[b].y *= norms[local_row];
        sum[b].z *= norms[local_row + 8], sum[b].w *= norms[local_row + 8];
      }
    }
    epilogue.finish(row_of(i), output_of(i), a.rows, sum, constants[i], inputs[i], shared + Shared::own);
  }
  if constexpr (!Epilogue::normed) {
    __syncthreads();
    epilogue.finish_rows(owned, tile, a.rows, shared + Shared::own);
  }
}

}  // namespace nervus::cuda
