#include "backends/cuda/device/tensor_map.h"

#include <cuda_runtime_api.h>

#include "backends/cuda/check.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

// The driver's own function, asked for at run time: the program starts on machines without a driver.
auto encoder() {
  static const auto function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult result{};
    check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &result),
               "asking the driver for tensor maps");
    check(result == cudaDriverEntryPointSuccess, "the driver has no tensor maps: update it");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry);
  }();
  return function;
}

}  // namespace

CUtensorMap tensor_map(const Tensor& x, int rows, int row_bytes) {
  const auto size = static_cast<std::uint64_t>(size_of(x.dtype));
  const CUtensorMapDataType type = x.dtype == DType::bf16  ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                   : x.dtype == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                           : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  const cuuint64_t extents[] = {static_cast<cuuint64_t>(x.columns), static_cast<cuuint64_t>(x.rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(x.columns) * size};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(row_bytes / size), static_cast<cuuint32_t>(rows)};
  const cuuint32_t steps[] = {1, 1};
  check(row_bytes == 128 || row_bytes == 32, "boxes have rows of 128 or 32 bytes");
  const CUtensorMapSwizzle swizzle = row_bytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_32B;
  CUtensorMap map{};
  const CUresult status = encoder()(&map, type, 2, x.data, extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                    swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, concat("a tensor map of [", x.rows, ", ", x.columns, "] ", name_of(x.dtype),
                                       " for tiles of ", rows, " rows: the driver says ", static_cast<int>(status)));
  return map;
}

}  // namespace nervus::cuda
