#include "backends/cuda/check.h"

#include "backends/cuda/injected_failure.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

thread_local InjectedFailure* injected = nullptr;  // of a test; otherwise none

bool is_injected(std::string_view what) { return injected != nullptr && injected->takes(what); }

const char* mend_of(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return "use --precision bf16, smaller limits or another device, or free memory on it (nvidia-smi)";
    case cudaErrorNoKernelImageForDevice: return "rebuild with this device in NERVUS_CUDA_ARCHITECTURES";
    case cudaErrorInsufficientDriver: return "update the NVIDIA driver";
    default: return "please report this with the command that caused it";
  }
}

// An error that every later call in this process will meet again.
bool is_sticky(cudaError_t status) {
  cudaGetLastError();
  return cudaFree(nullptr) == status;
}

std::string version(int number) { return concat(number / 1000, ".", number % 1000 / 10); }

[[noreturn]] void refuse_machine(cudaError_t status) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) {
    fail(ErrorKind::unsupported,
         "cuda: no NVIDIA driver was found (libcuda.so.1): install one, start a container with its GPUs, or use "
         "--device "
         "cpu");
  }
  if (status == cudaErrorInsufficientDriver) {
    fail(ErrorKind::unsupported, "cuda: the driver offers CUDA ", version(driver), ", this build needs ",
         version(CUDART_VERSION), ": update the driver, or use --device cpu");
  }
  fail(ErrorKind::unsupported, "cuda: ", cudaGetErrorString(status),
       ": look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu");
}

}  // namespace

InjectedFailure::InjectedFailure(std::string_view what, std::int64_t after) : what_(what), after_(after) {
  check(injected == nullptr, "one injected failure at a time");
  injected = this;
}

InjectedFailure::~InjectedFailure() { injected = nullptr; }

void check_cuda(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess && is_injected(what)) {
    status = what.starts_with("allocating") ? cudaErrorMemoryAllocation : cudaErrorLaunchFailure;
  }
  if (status == cudaSuccess) return;
  int ordinal = 0;
  cudaGetDevice(&ordinal);
  const std::string where =
      concat("cuda:", ordinal, ": ", what, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  if (is_sticky(status)) {
    fail(ErrorKind::device, where, ": the device is lost to this process, which must be started again");
  }
  fail(ErrorKind::device, where, ": ", mend_of(status));
}

void check_cublas(cublasStatus_t status, std::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS && is_injected(what)) status = CUBLAS_STATUS_EXECUTION_FAILED;
  if (status == CUBLAS_STATUS_SUCCESS) return;
  check_cuda(cudaPeekAtLastError(), what);
  fail(ErrorKind::device, "cuBLASLt: ", what, ": ", cublasLtGetStatusName(status), ": ",
       status == CUBLAS_STATUS_ALLOC_FAILED ? mend_of(cudaErrorMemoryAllocation) : mend_of(cudaErrorUnknown));
}

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    refuse_machine(status);
  }
  return count;
}

}  // namespace nervus::cuda
