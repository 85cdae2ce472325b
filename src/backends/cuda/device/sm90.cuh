// Hopper's own instructions, one thin function each: barriers in shared memory, copies into it, clusters, and
// what surrounds warpgroup products.
#pragma once

#include <cstdint>

namespace nervus::cuda {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- barriers that count arrivals and bytes
__device__ inline void barrier_init(std::uint64_t* barrier, int arrivals = 1) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

__device__ inline void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

__device__ inline void barrier_expect(std::uint64_t* barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

// Of a whole warp, after what its lanes have stored. One lane arrives for all; racecheck does not follow that from
// __syncwarp() on, and has builds of its own (NERVUS_RACECHECK) in which every lane does.
#ifdef NERVUS_RACECHECK
constexpr int warp_arrivals = 32;
#else
constexpr int warp_arrivals = 1;
#endif
__device__ inline void barrier_arrive_warp(std::uint64_t* barrier) {
  __syncwarp();
  if (threadIdx.x % 32 < warp_arrivals)
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ inline void barrier_wait(std::uint64_t* barrier, std::uint32_t parity) {
  std::uint32_t done = 0;
  while (done == 0) {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
  }
}

// Contiguous bytes (a multiple of 16, aligned to 16) into shared memory; completes on the barrier.
__device__ inline void bulk_load(void* target, const void* source, std::uint32_t bytes, std::uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(target)),
               "l"(source), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}

// ---- clusters
__device__ inline std::uint32_t cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// All threads of the cluster have arrived when they come out of cluster_wait(), and see each other's initialised
// barriers (barrier_init_fence).
__device__ inline void cluster_arrive() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }
__device__ inline void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
__device__ inline void cluster_meet() {
  cluster_arrive();
  cluster_wait();
}

// Where block `rank` of the cluster has what `local` points to in this block's shared memory.
__device__ inline std::uint32_t remote_address(const void* local, std::uint32_t rank) {
  std::uint32_t remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(local)), "r"(rank));
  return remote;
}

// Stores at a remote address; arrives there as 16 bytes on that block's barrier.
__device__ inline void store_remote(std::uint32_t remote, std::uint32_t remote_barrier, float4 value) {
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(remote),
      "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w), "r"(remote_barrier)
      : "memory");
}

// All threads of a block have come this far. Where warps have waited at different barriers before, racecheck loses who
// comes before whom over one such meeting, not over two: in its builds they meet twice.
__device__ inline void block_meet() {
  __syncthreads();
#ifdef NERVUS_RACECHECK
  __syncthreads();
#endif
}

// The first `threads` of a block, whole warps, have come this far.
__device__ inline void warps_meet(int threads) { asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory"); }

// ---- what warpgroup products need besides themselves (wgmma_sm90.cmake)
// Of B in tiles of 8 rows x 16 bytes, 128 contiguous bytes each: `along_k` and `along_n` are the bytes between
// neighbouring tiles.
__device__ inline std::uint64_t tile_descriptor(std::uint32_t address, std::uint32_t along_k, std::uint32_t along_n) {
  return static_cast<std::uint64_t>((address & 0x3FFFF) >> 4) | static_cast<std::uint64_t>(along_k >> 4) << 16 |
         static_cast<std::uint64_t>(along_n >> 4) << 32;
}

__device__ inline void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
__device__ inline void products_wait() { asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }

}  // namespace nervus::cuda
