// y [T, F] = silu(g) u with g, u = x W^T + b, or norm(x) W^T + b
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

  // Both, and then one of them: a branch would part what else is under way.
  __device__ void store(std::int64_t at, const float (&values)[2]) const {
    const __half2 half = __floats2half2_rn(values[0] * inverse, values[1] * inverse);
    const __nv_bfloat162 wide = __floats2bfloat162_rn(values[0], values[1]);
    *reinterpret_cast<std::uint32_t*>(data + at) =
        f16 ? *reinterpret_cast<const std::uint32_t*>(&half) : *reinterpret_cast<const std::uint32_t*>(&wide);
  }
};

template <typename Out, bool Fused>
struct GateUpEpilogue {
  static constexpr bool fused = Fused, normed = Fused;
  static constexpr const char* name = "gate_up";
  using Y = typename Out::type;
  static constexpr int blocks = 2, staged_bytes = 8 * static_cast<int>(sizeof(Y));  // of 8 channels
  static constexpr int weights_ahead = Fused ? 8 : 1;  // a norm before it ends as soon as it begins
  using Chunk = Pack<Y, 8>;
  Out y;
  int width;  // F

  template <int chunks>
  struct Part {
    int row, rows, output;  // the first row, how many are left, the first output

    Part() = default;
    __device__ Part(const GateUpEpilogue&, int row, int count, int output)
        : row(row), rows(count - row), output(output) {}
    __device__ void prepare(const GateUpEpilogue&) {}
    __device__ void load(const GateUpEpilogue&) {}
  };

  // Of two channels: silu(g) u = g u / (1 + e^-g), with one reciprocal for both. What an exponential of 2^60 divides is
  // nothing in any format, and the product of two does not overflow.
  static __device__ void put(const Out& y, std::byte* row, int channel, float2 gate, float2 up) {
    constexpr float log2_e = 1.4426950408889634f;
    const float a = 1.0f + power_of_two(fminf(-log2_e * gate.x, 60.0f));
    const float b = 1.0f + power_of_two(fminf(-log2_e * gate.y, 60.0f));
    const float both = reciprocal(a * b);
    Out to = y;
    to.data = reinterpret_cast<Y*>(row);
    to.store(channel, {gate.x * (both * b) * up.x, gate.y * (both * a) * up.y});
  }
  template <int chunks>
  __device__ void stage(std::byte* first, std::byte* second, int channel, const float4 (&v)[2]) const {
    put(y, first, channel, {v[0].x, v[0].y}, {v[1].x, v[1].y});
    put(y, second, channel, {v[0].z, v[0].w}, {v[1].z, v[1].w});
  }
  template <int chunks>
  __device__ void store(const Part<chunks>& part, const std::byte* area, int stride) const {
    for (int i = static_cast<int>(threadIdx.x % 32); i < 16 * chunks; i += 32) {
      const int row = i / chunks, chunk = i % chunks, output = part.output + chunk * 16;
      if (row >= part.rows || output >= 2 * width) continue;
      Y* target = y.data + static_cast<std::int64_t>(part.row + row) * width + output / 2;
      *reinterpret_cast<Chunk*>(target) = reinterpret_cast<const Chunk*>(area + row * stride)[chunk];
    }
  }
};

}  // namespace

void wide_gate_up(const Stream& stream, const WideTile& tile, const Tensor& y, const WideProduct& product) {
  const auto run = [&](auto output) {
    const auto width = static_cast<int>(y.columns);
    if (product.squares) {
      const GateUpEpilogue<decltype(output), true> epilogue{.y = output, .width = width};
      launch_wide<wide_fused_gate_up_tiles>(stream, tile, product, {}, epilogue);
    } else {
      const GateUpEpilogue<decltype(output), false> epilogue{.y = output, .width = width};
      launch_wide<wide_gate_up_tiles>(stream, tile, product, {}, epilogue);
    }
  };
  if (y.dtype == DType::e4m3) run(Output<__nv_fp8_e4m3>{data<__nv_fp8_e4m3>(y), 1.0f / y.scale});
  else run(HalfOutput{data<std::uint16_t>(y), 1.0f / y.scale, y.dtype == DType::f16});
}

}  // namespace nervus::cuda
