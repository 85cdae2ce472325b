// What cuBLASLt is told and asked, in the words of tensors.
#pragma once

#include <cublasLt.h>

#include <cstdint>

#include "backends/cuda/check.h"
#include "backends/cuda/handles.h"
#include "core/tensor.h"

namespace nervus::cuda {

// Parts of a sum are added in float32 and in one order, never by atomics and never in bf16.
inline constexpr std::uint32_t reduction_schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

// The one place that says how a format is computed with.
inline cudaDataType_t library_type(DType dtype) {
  if (dtype == DType::bf16) return CUDA_R_16BF;
  if (dtype == DType::f16) return CUDA_R_16F;
  if (dtype == DType::e4m3) return CUDA_R_8F_E4M3;
  check(dtype == DType::f32, "linears compute on f32, bf16, f16 and e4m3");
  return CUDA_R_32F;
}

inline BlasLayout make_layout(const Tensor& x) {  // the library counts in columns: a row-major matrix is its transpose
  BlasLayout layout;
  check_cublas(cublasLtMatrixLayoutCreate(layout.out(), library_type(x.dtype), static_cast<std::uint64_t>(x.columns),
                                          static_cast<std::uint64_t>(x.rows), x.columns),
               "describing a matrix");
  return layout;
}

template <typename T>
void set(const BlasProduct& product, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulDescSetAttribute(product.get(), attribute, &value, sizeof(value)), "describing a product");
}

template <typename T>
void set(const BlasPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
               "describing a preference");
}

// What sums are multiplied by: `outputs` [N] and `rows` [T]. False where the library is too old to.
inline bool set_scales(const BlasProduct& product, const void* outputs, const void* rows) {
#if CUBLAS_VERSION >= 120900
  set(product, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
  set(product, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
  set(product, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, outputs);
  set(product, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, rows);
  return true;
#else
  return outputs == nullptr && rows == nullptr;
#endif
}

inline int id_of(const cublasLtMatmulAlgo_t& algorithm) {
  int id = 0;
  std::size_t written = 0;
  check_cublas(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof(id), &written),
               "asking for an algorithm");
  return id;
}

inline bool sums_in_order(const cublasLtMatmulAlgo_t& algorithm) {
  std::uint32_t scheme = 0;
  std::size_t written = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                                                     &scheme, sizeof(scheme), &written);
  return status == CUBLAS_STATUS_SUCCESS && (scheme & ~reduction_schemes) == 0;
}

}  // namespace nervus::cuda
