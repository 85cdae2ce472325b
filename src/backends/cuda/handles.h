// CUDA's handles as move-only types that free what they hold.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>
#include <utility>

#include "backends/cuda/check.h"

namespace nervus::cuda {

template <typename Handle, auto destroy>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != Handle{}) destroy(handle_);
  }

  Handle get() const { return handle_; }
  // For functions that make the handle.
  Handle* out() { return &handle_; }
  explicit operator bool() const { return handle_ != Handle{}; }

 private:
  Handle handle_{};
};

using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using GraphTemplate = Owned<cudaGraph_t, cudaGraphDestroy>;
using GraphExec = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
using DeviceBuffer = Owned<void*, cudaFree>;
using PinnedBuffer = Owned<void*, cudaFreeHost>;
using BlasHandle = Owned<cublasLtHandle_t, cublasLtDestroy>;
using BlasLayout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using BlasProduct = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using BlasPreference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

inline std::string megabytes(std::int64_t bytes) { return std::to_string((bytes + 999999) / 1000000) + " MB"; }

inline DeviceBuffer device_buffer(std::int64_t bytes) {
  DeviceBuffer buffer;
  check_cuda(cudaMalloc(buffer.out(), static_cast<std::size_t>(bytes)), "allocating " + megabytes(bytes));
  return buffer;
}

inline PinnedBuffer pinned_buffer(std::int64_t bytes) {
  PinnedBuffer buffer;
  check_cuda(cudaMallocHost(buffer.out(), static_cast<std::size_t>(bytes)),
             "allocating " + megabytes(bytes) + " of pinned host memory");
  return buffer;
}

inline Event make_event(unsigned flags) {
  Event event;
  check_cuda(cudaEventCreateWithFlags(event.out(), flags), "making an event");
  return event;
}

// A stream of one device. Whoever calls CUDA calls use() first: a process may hold several devices.
class Stream {
 public:
  explicit Stream(int ordinal) : ordinal_(ordinal) {
    use();
    check_cuda(cudaStreamCreateWithFlags(handle_.out(), cudaStreamNonBlocking), "making a stream");
    check_cuda(cudaDeviceGetAttribute(&major_, cudaDevAttrComputeCapabilityMajor, ordinal), "asking for a capability");
    check_cuda(cudaDeviceGetAttribute(&minor_, cudaDevAttrComputeCapabilityMinor, ordinal), "asking for a capability");
  }

  int ordinal() const { return ordinal_; }
  int major() const { return major_; }  // of the compute capability
  int minor() const { return minor_; }
  cudaStream_t get() const { return handle_.get(); }
  void use() const { check_cuda(cudaSetDevice(ordinal_), "choosing the device"); }
  void synchronize() const { check_cuda(cudaStreamSynchronize(get()), "waiting for the device"); }

 private:
  int ordinal_;
  int major_ = 0;
  int minor_ = 0;
  Owned<cudaStream_t, cudaStreamDestroy> handle_;
};

// For the results of trials: some add to what is there.
inline DeviceBuffer cleared_buffer(const Stream& stream, std::int64_t bytes) {
  DeviceBuffer buffer = device_buffer(bytes);
  check_cuda(cudaMemsetAsync(buffer.get(), 0, static_cast<std::size_t>(bytes), stream.get()), "clearing memory");
  return buffer;
}

}  // namespace nervus::cuda
