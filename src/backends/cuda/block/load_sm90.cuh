// What a product of the fused kernels (product_sm90.cuh) loads behind the dependency wait: its share of the inputs, and
// of their norm.
#pragma once

#include <cstdint>

#include "backends/cuda/block/cut_sm90.cuh"

namespace nervus::cuda {

constexpr float norm_epsilon = 1e-6f;

// One 1 / rms(h) a row that this block finishes, from the sums that the kernel before left: loaded after the
// activations, added up while the product runs. At most `parts` sums a row.
template <int rows, int parts>
struct RowNorms {
  static constexpr int threads = block_threads / rows, most = (parts + threads - 1) / threads;
  const float* source;
  int left;  // of this thread's parts, counted in steps of one
  float squares[most];

  __device__ RowNorms(const ProductArguments& a, int first_row) {
    const int row = first_row + static_cast<int>(threadIdx.x) / threads, lane = threadIdx.x % threads;
    source = a.squares + static_cast<std::int64_t>(row) * a.parts + lane;
    left = row < a.rows ? a.parts - lane : 0;
  }
  __device__ void load() {
#pragma unroll
    for (int i = 0; i < most; ++i) squares[i] = i * threads < left ? __ldcg(source + i * threads) : 0;
  }
  __device__ void store(float* norms, float inverse_width) const {
    float sum = squares[0];
#pragma unroll
    for (int i = 1; i < most; ++i) sum += squares[i];
#pragma unroll
    for (int step = threads / 2; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x % threads == 0) norms[threadIdx.x / threads] = rsqrtf(sum * inverse_width + norm_epsilon);
  }
};

// This lane's share of x: of each step 16 bytes. Lanes whose rows are padding load nothing: what they
// hold reaches padding alone. Steps beyond the inputs are zero; all warpgroups have the first `Sure`, which are loaded
// without asking: what is asked between the dependency wait and a load delays all that follow.
template <int Steps, int Sure>
__device__ void load_operands(uint4 (&x)[Steps], const uint4* source, bool present, int steps) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    if (s < Sure) {
      if (present) x[s] = __ldcg(source + s * 32);
    } else {
      x[s] = present && s < steps ? __ldcg(source + s * 32) : make_uint4(0, 0, 0, 0);
    }
  }
}

}  // namespace nervus::cuda
