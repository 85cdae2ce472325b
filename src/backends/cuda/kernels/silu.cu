// y = x * sigmoid(x)
// y, x [T, D]; threads as in map.cuh; bound by memory.
// Reference: tests/reference/kernels.cpp, silu.
#include "backends/cuda/kernels.h"
#include "backends/cuda/kernels/map.cuh"

namespace nervus::cuda {
namespace {

struct Silu {
  __device__ static float apply(float x) { return sigmoid_product(x); }
};

}  // namespace

void silu(const Stream& stream, const Tensor& y, const Tensor& x) { map<Silu>(stream, y, x); }

}  // namespace nervus::cuda
