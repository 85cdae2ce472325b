// y = x * Phi(x), Phi the normal distribution function: the exact GELU
// y, x [T, D]; threads as in map.cuh; bound by memory.
// Reference: tests/reference/kernels.cpp, gelu.
#include "backends/cuda/kernels.h"
#include "backends/cuda/kernels/map.cuh"

namespace nervus::cuda {
namespace {

struct Gelu {
  __device__ static float apply(float x) { return x * normcdff(x); }
};

}  // namespace

void gelu(const Stream& stream, const Tensor& y, const Tensor& x) { map<Gelu>(stream, y, x); }

}  // namespace nervus::cuda
