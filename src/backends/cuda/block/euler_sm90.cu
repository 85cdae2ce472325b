// x [T', A] -= dt (norm(h) W^T + b) of the last T' rows of h.
// Work: product_sm90.cuh; a cluster makes 32 outputs, each of its blocks finishes 16 rows of them.
// Bound: see product_sm90.cuh; 75 x 768 are 0.1 MB of weights.
// Reference: ReferenceKernels::rms_norm, linear, euler_step.
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/launch_sm90.cuh"
#include "backends/cuda/block/product_sm90.cuh"

namespace nervus::cuda {
namespace {

struct EulerEpilogue {
  static constexpr bool normed = true;
  static constexpr int blocks = 1;
  static constexpr int shared_bytes = 0;
  const float* bias;
  float* x;
  int first, columns;  // first: row of h that is row 0 of x
  float dt;

  struct Constants {
    float bias[2];
    float* x[2][2];  // of two rows and two outputs, or null
    float before[2][2];
  };
  struct Ready {};

  __device__ Constants constants(int row, int output, int rows, std::byte*) const {
    Constants c{};
    for (int e = 0; e < 2; ++e) {
      if (output + e >= columns) continue;
      c.bias[e] = bias[output + e];
      for (int s = 0; s < 2; ++s) {
        const int at = row + 8 * s;
        if (at >= first && at < rows) c.x[s][e] = x + static_cast<std::int64_t>(at - first) * columns + output + e;
      }
    }
    return c;
  }
  __device__ void inputs(Constants& c, std::byte*) const {
    for (int i = 0; i < 4; ++i) {
      if (c.x[i / 2][i % 2] != nullptr) c.before[i / 2][i % 2] = __ldcg(c.x[i / 2][i % 2]);
    }
  }
  __device__ Ready ready(std::byte*) const { return {}; }
  __device__ void finish(const float4 (&sum)[1], const Constants& c, const Ready&, std::byte*) const {
    const float v[4] = {sum[0].x, sum[0].y, sum[0].z, sum[0].w};
    for (int i = 0; i < 4; ++i) {
      const int s = i / 2, e = i % 2;
      if (c.x[s][e] != nullptr) *c.x[s][e] = c.before[s][e] - dt * (v[i] + c.bias[e]);
    }
  }
};

}  // namespace

void block_euler_step(const Stream& stream, const Tensor& x, const Residual& h, const Norm& norm, const Linear& w,
                      float dt) {
  const EulerEpilogue epilogue{.bias = norm.folded.as<float>(),
                               .x = x.as<float>(),
                               .first = static_cast<int>(h.h.rows - x.rows),
                               .columns = static_cast<int>(x.columns),
                               .dt = dt};
  launch_block<32, 4, 6>(stream, w, h.scaled, h.squares, epilogue);
}

}  // namespace nervus::cuda
