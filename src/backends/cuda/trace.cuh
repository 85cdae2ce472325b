// When the blocks of a kernel begin, are free of the dependency wait and end, and on which multiprocessor: in
// builds with NERVUS_TRACE, the name of a file. At its end a program of such a build writes there what the last run of
// each launch left; benchmarks/block_trace.py reads it. In other builds all of this is nothing.
#pragma once

#include <cstdint>

namespace nervus::cuda {

#ifdef NERVUS_TRACE
// Of one block; times in nanoseconds of the device's clock.
struct TraceRecord {
  std::int64_t multiprocessor, begun, free, ended;
};

struct Trace {
  static constexpr bool on = true;
  static constexpr int most_blocks = 1024;  // of a launch; those beyond leave nothing
  TraceRecord* records;

  __device__ static std::int64_t now() {
    std::int64_t time;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time)::"memory");
    return time;
  }
  __device__ TraceRecord* record() const {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    return threadIdx.x == 0 && block < most_blocks ? records + block : nullptr;
  }
  __device__ void begun() const {
    TraceRecord* mine = record();
    if (mine == nullptr) return;
    unsigned multiprocessor;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(multiprocessor));
    mine->multiprocessor = multiprocessor;
    mine->begun = now();
  }
  __device__ void free() const {
    if (TraceRecord* mine = record()) mine->free = now();
  }
  __device__ void ended() const {
    if (TraceRecord* mine = record()) mine->ended = now();
  }
};

// Of the next launch of the kernel, whose rows have that many inputs.
Trace trace_launch(const char* kernel, std::int64_t inputs);
#else
struct Trace {
  static constexpr bool on = false;
  __device__ void begun() const {}
  __device__ void free() const {}
  __device__ void ended() const {}
};
inline Trace trace_launch(const char*, std::int64_t) { return {}; }
#endif

}  // namespace nervus::cuda
