// Failures of CUDA and cuBLAS in words: the call, the device, what to do about it.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <string_view>

namespace nervus::cuda {

// Throws Error(device) unless `status` is success. `what` names the call with its size, as "allocating 3.2 GB". An
// error from which the process cannot recover says so; after any other the device goes on.
void check_cuda(cudaError_t status, std::string_view what);
void check_cublas(cublasStatus_t status, std::string_view what);

// How many devices there are. Throws Error(unsupported) where CUDA cannot be used: no driver, too old a driver, no GPU.
int device_count();

}  // namespace nervus::cuda
