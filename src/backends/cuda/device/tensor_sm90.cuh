// Copies of tiles by the tensor unit, barriers across a cluster, and operands of warpgroup products in shared memory.
#pragma once

#include <cuda.h>

#include "backends/cuda/device/sm90.cuh"

namespace nervus::cuda {

// Arrives at the barrier that block `rank` of the cluster has where `barrier` is in this block. It orders no memory
// beyond the block: that would flush it to the whole GPU.
__device__ inline void barrier_arrive(std::uint64_t* barrier, std::uint32_t rank) {
  asm volatile(
      "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote]; }" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}

__device__ inline void map_prefetch(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<std::uint64_t>(&map)) : "memory");
}

// The box of a matrix at (column, row) into shared memory; completes on the barrier.
__device__ inline void tensor_load(void* target, const CUtensorMap& map, int column, int row, std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          shared_address(target)),
      "l"(reinterpret_cast<std::uint64_t>(&map)), "r"(column), "r"(row), "r"(shared_address(barrier))
      : "memory");
}

// The same into the same place of every block in `blocks`, a bit each, and on their barriers.
__device__ inline void tensor_load(void* target, const CUtensorMap& map, int column, int row, std::uint64_t* barrier,
                                   std::uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(target)),
      "l"(reinterpret_cast<std::uint64_t>(&map)), "r"(column), "r"(row), "r"(shared_address(barrier)), "h"(blocks)
      : "memory");
}

// An operand whose rows are 128 or 32 bytes, swizzled as the tensor unit does; the tile begins at a multiple of eight
// rows, and `address` is that of its first row plus a step of 32 bytes.
template <int row_bytes = 128>
__device__ inline std::uint64_t swizzled_tile(std::uint32_t address) {
  static_assert(row_bytes == 128 || row_bytes == 32);
  constexpr std::uint64_t eight_rows = 8 * row_bytes >> 4, swizzle = row_bytes == 128 ? 1 : 3;
  return static_cast<std::uint64_t>((address & 0x3FFFF) >> 4) | std::uint64_t{1} << 16 | eight_rows << 32 |
         swizzle << 62;
}

// What this thread has stored in shared memory, before the products that read it (and a meeting of all who store).
__device__ inline void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Waits for all but the newest group of products.
__device__ inline void products_wait_but_one() { asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory"); }

}  // namespace nervus::cuda
