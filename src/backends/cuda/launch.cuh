// How kernels are launched, and how a tensor's type becomes a kernel's.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include "backends/cuda/device/values.cuh"
#include "backends/cuda/handles.h"
#include "core/message.h"
#include "core/tensor.h"

namespace nervus::cuda {

struct Shape {
  dim3 blocks;
  unsigned threads;
  int shared = 0;        // bytes of dynamic shared memory
  unsigned cluster = 1;  // blocks along x that share their memory
};

// What the runtime wants to know of a launch. Makes the stream's device the current one, and lets the kernel have its
// shared memory.
struct LaunchConfig {
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config{};

  LaunchConfig(const Stream& stream, const Shape& shape, const void* kernel) {
    stream.use();
    if (shape.shared > 0) {
      check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared),
                 "asking for shared memory");
      // All of it, whatever one kernel needs: a multiprocessor has to be empty before it can be divided anew, and would
      // not take blocks of the next kernel before.
      check_cuda(
          cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
          "asking for shared memory");
    }
    config.gridDim = shape.blocks;
    config.blockDim = dim3(shape.threads);
    config.dynamicSmemBytes = static_cast<std::size_t>(shape.shared);
    config.stream = stream.get();
    config.attrs = attributes;
    if (stream.major() >= 9) {
      attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (shape.cluster > 1) {
      attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
      attributes[config.numAttrs++].val.clusterDim = {shape.cluster, 1, 1};
    }
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;
};

// Launches on the stream. Where the device can, the kernel is scheduled while the one before it still runs, and waits
// in begin().
template <typename... Parameters, typename... Arguments>
void launch(const Stream& stream, const Shape& shape, void (*kernel)(Parameters...), Arguments... arguments) {
  const LaunchConfig launch(stream, shape, reinterpret_cast<const void*>(kernel));
  check_cuda(cudaLaunchKernelEx(&launch.config, kernel, static_cast<Parameters>(arguments)...), "launching a kernel");
}

// How many blocks of a kernel in clusters the device holds at a time, whole clusters.
template <typename... Parameters>
unsigned blocks_at_once(const Stream& stream, const Shape& shape, void (*kernel)(Parameters...)) {
  const LaunchConfig launch(stream, shape, reinterpret_cast<const void*>(kernel));
  int clusters = 0;
  check_cuda(cudaOccupancyMaxActiveClusters(&clusters, kernel, &launch.config), "asking how many clusters fit");
  return static_cast<unsigned>(clusters) * shape.cluster;
}

inline unsigned blocks_for(std::int64_t work, std::int64_t each) {
  return static_cast<unsigned>((work + each - 1) / each);
}

// Whole warps that have one item a thread, at most `most` threads.
inline unsigned threads_for(std::int64_t items, unsigned most) {
  const std::int64_t warps = (items + 31) / 32 * 32;
  return warps < most ? static_cast<unsigned>(warps > 0 ? warps : 32) : most;
}

template <typename T>
struct Type {
  using type = T;
};

// function(Type<T>) with the element type of a tensor of activations.
template <typename Function>
void with_type(DType dtype, const Function& function) {
  if (dtype == DType::bf16) return function(Type<__nv_bfloat16>{});
  check(dtype == DType::f32, "kernels compute on f32 and bf16");
  function(Type<float>{});
}

// The same with what linears read, which may be e4m3 or f16.
template <typename Function>
void with_input_type(DType dtype, const Function& function) {
  if (dtype == DType::f16) return function(Type<__half>{});
  if (dtype == DType::e4m3) return function(Type<__nv_fp8_e4m3>{});
  with_type(dtype, function);
}

// function(std::integral_constant<int, N>) with N elements at once where rows are whole packs, otherwise one.
template <typename Function>
void with_pack(std::int64_t columns, const Function& function) {
  if (columns % pack == 0) return function(std::integral_constant<int, pack>{});
  function(std::integral_constant<int, 1>{});
}

template <typename T>
T* data(const Tensor& x) {
  return static_cast<T*>(x.data);
}

// function(Output<T>) for a tensor that a linear may read.
template <typename Function>
void with_output(const Tensor& y, const Function& function) {
  with_input_type(y.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    function(Output<T>{data<T>(y), 1.0f / y.scale});
  });
}

}  // namespace nervus::cuda
