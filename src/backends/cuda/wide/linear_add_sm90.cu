// h [T, N] += gate (x W^T + b)
// Work: product_sm90.cuh; a thread adds two outputs of two rows at a time.
// Bound: see product_sm90.cuh; 2048 x 11008 at 242 rows are 10.9 GFLOP and 45 MB of weights in bf16.
// Reference: ReferenceKernels::linear_add.
#include "backends/cuda/wide/launch_sm90.cuh"

namespace nervus::cuda {
namespace {

struct AddEpilogue {
  static constexpr bool fused = false, normed = false;
  static constexpr const char* name = "add";
  static constexpr int blocks = 1, ahead = 16, staged_bytes = 0;
  static constexpr int weights_ahead = 8;  // what is before it takes its time
  float* h;
  int width;

  struct Rows {
    float* h[2];  // of the last row where a row is beyond it
    bool present[2];
  };
  struct Inputs {
    float2 h[2];
  };

  __device__ Rows rows(int row, int count) const {
    Rows rows;
    for (int s = 0; s < 2; ++s) {
      rows.h[s] = h + static_cast<std::int64_t>(min(row + 8 * s, count - 1)) * width;
      rows.present[s] = row + 8 * s < count;
    }
    return rows;
  }
  __device__ Inputs inputs(const Rows& rows, int output) const {
    return {{load_here(reinterpret_cast<const float2*>(rows.h[0] + output)),
             load_here(reinterpret_cast<const float2*>(rows.h[1] + output))}};
  }
  __device__ void finish(const Rows& rows, int output, const float4 (&v)[1], const Inputs& in) const {
    const float2 next[2] = {{in.h[0].x + v[0].x, in.h[0].y + v[0].y}, {in.h[1].x + v[0].z, in.h[1].y + v[0].w}};
    for (int s = 0; s < 2; ++s) {
      if (rows.present[s]) *reinterpret_cast<float2*>(rows.h[s] + output) = next[s];
    }
  }
};

}  // namespace

void wide_linear_add(const Stream& stream, const WideTile& tile, const Tensor& h, const WideProduct& product,
                     const Tensor& gate) {
  const AddEpilogue epilogue{.h = h.as<float>(), .width = static_cast<int>(h.columns)};
  launch_wide<wide_add_tiles>(stream, tile, product, gate, epilogue);
}

}  // namespace nervus::cuda
