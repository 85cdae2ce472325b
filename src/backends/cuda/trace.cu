// What blocks noted, from the device into a file: trace.cuh. Compiled in builds with NERVUS_TRACE alone.
#include <cuda_runtime_api.h>

#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include "backends/cuda/check.h"
#include "backends/cuda/trace.cuh"
#include "core/message.h"

namespace nervus::cuda {
namespace {

// The records of all launches; those beyond the last that there is place for share its records.
class Traces {
 public:
  Traces() {
    check_cuda(cudaMalloc(&records_, bytes), "allocating the records of a trace");
    check_cuda(cudaMemset(records_, 0, bytes), "clearing the records of a trace");
  }
  ~Traces() { write(); }

  Trace next(const std::string& kernel) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (kernels_.size() < most_launches) kernels_.push_back(kernel);
    return {records_ + (kernels_.size() - 1) * Trace::most_blocks};
  }

 private:
  static constexpr std::size_t most_launches = 16384;
  static constexpr std::size_t bytes = most_launches * Trace::most_blocks * sizeof(TraceRecord);

  // One line of JSON a launch: {"kernel": "qkv of 768", "blocks": [[multiprocessor, begun, free, ended], ...]}
  void write() const {
    std::vector<TraceRecord> records(kernels_.size() * Trace::most_blocks);
    if (cudaDeviceSynchronize() != cudaSuccess ||
        cudaMemcpy(records.data(), records_, records.size() * sizeof(TraceRecord), cudaMemcpyDeviceToHost) !=
            cudaSuccess)
      return;
    std::ofstream file(NERVUS_TRACE);
    for (std::size_t i = 0; i < kernels_.size(); ++i) {
      file << "{\"kernel\": \"" << kernels_[i] << "\", \"blocks\": [";
      const char* separator = "";
      for (int block = 0; block < Trace::most_blocks; ++block) {
        const TraceRecord& r = records[i * Trace::most_blocks + static_cast<std::size_t>(block)];
        if (r.ended == 0) continue;
        file << separator << "[" << r.multiprocessor << ", " << r.begun << ", " << r.free << ", " << r.ended << "]";
        separator = ", ";
      }
      file << "]}\n";
    }
  }

  std::mutex mutex_;
  std::vector<std::string> kernels_;
  TraceRecord* records_ = nullptr;
};

}  // namespace

Trace trace_launch(const char* kernel, std::int64_t inputs) {
  static Traces traces;
  return traces.next(concat(kernel, " of ", inputs));
}

}  // namespace nervus::cuda
