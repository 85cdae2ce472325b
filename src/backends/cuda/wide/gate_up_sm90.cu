// y [T, F] = silu(g) u with g, u = x W^T + b
// Work: product_sm90.cuh; eight channels of gate lie beside the same of up, so one thread holds both.
// Bound: see product_sm90.cuh; 22016 x 2048 at 242 rows are 21.8 GFLOP and 90 MB of weights in bf16.
// Reference: ReferenceKernels::linear, swiglu.
#include "backends/cuda/wide/launch_sm90.cuh"

namespace nervus::cuda {
namespace {

// As bf16 or f16, told apart when it runs: kernels of their own would be half as many again.
struct HalfOutput {
  using type = std::uint16_t;
  type* data;
  float inverse;
  bool f16;

  __device__ void store(std::int64_t at, const float (&values)[2]) const {
    if (f16) Output<__half>{reinterpret_cast<__half*>(data), inverse}.store(at, values);
    else cuda::store<2>(reinterpret_cast<__nv_bfloat16*>(data) + at, values);
  }
};

template <typename Out>
struct GateUpEpilogue {
  using Y = typename Out::type;
  static constexpr int blocks = 2, staged_bytes = 8 * static_cast<int>(sizeof(Y));  // of 8 channels
  using Chunk = Pack<Y, 8>;
  Out y;
  int width;  // F

  struct Rows {
    int first, count;  // of lane 0's row
  };
  struct Early {
    Y* row;  // null beyond the last
  };

  __device__ Rows rows(int row, int count) const { return {row - static_cast<int>(threadIdx.x % 16), count}; }

  static __device__ float swiglu(float gate, float up) { return __fdividef(gate, 1.0f + __expf(-gate)) * up; }

  template <int chunks>
  __device__ void stage(std::byte* first, std::byte* second, int channel, const float4 (&v)[2]) const {
    Out low = y, high = y;
    low.data = reinterpret_cast<Y*>(first), high.data = reinterpret_cast<Y*>(second);
    low.store(channel, {swiglu(v[0].x, v[1].x), swiglu(v[0].y, v[1].y)});
    high.store(channel, {swiglu(v[0].z, v[1].z), swiglu(v[0].w, v[1].w)});
  }
  __device__ Early early(const Rows& rows, int row, int) const {
    const int at = rows.first + row;
    return {at < rows.count ? y.data + static_cast<std::int64_t>(at) * width : nullptr};
  }
  template <int chunks>
  __device__ void store(const Early& early, int output, const std::byte* staged, int chunk) const {
    if (output < 0 || early.row == nullptr) return;
    Y* target = early.row + output / 2;
    *reinterpret_cast<Chunk*>(target) = reinterpret_cast<const Chunk*>(staged)[chunk];
  }
};

}  // namespace

void wide_gate_up(const Stream& stream, const WideTile& tile, const Tensor& y, const WideProduct& product) {
  const auto run = [&](auto output) {
    const GateUpEpilogue<decltype(output)> epilogue{.y = output, .width = static_cast<int>(y.columns)};
    launch_wide<wide_gate_up_tiles>(stream, tile, product, {}, epilogue);
  };
  if (y.dtype == DType::e4m3) run(Output<__nv_fp8_e4m3>{data<__nv_fp8_e4m3>(y), 1.0f / y.scale});
  else run(HalfOutput{data<std::uint16_t>(y), 1.0f / y.scale, y.dtype == DType::f16});
}

}  // namespace nervus::cuda
