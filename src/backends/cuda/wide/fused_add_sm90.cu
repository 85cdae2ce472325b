// h [T, D] += gate (x W^T + b), and what the next norm needs: scaled = h scale in bf16, or in e4m3 over its scale,
// squares = sums of h^2 over 32 columns. Work: product_sm90.cuh; four lanes add 32 outputs of two rows, a sum of
// squares each. Bound: see product_sm90.cuh; 768 x 2048 at 408 rows are 1.3 GFLOP, and 3.1 MB of the stream to read and
// write. Reference: ReferenceKernels::linear_add, rms_norm.
#include "backends/cuda/wide/launch_sm90.cuh"

namespace nervus::cuda {
namespace {

// `S`: of the stream that the next norm's linear reads.
template <typename S>
struct FusedAddEpilogue {
  static constexpr const char* name = "add";
  static constexpr bool fused = true, normed = false;
  static constexpr int blocks = 4, ahead = 4, staged_bytes = 0;
  static constexpr int weights_ahead = 8;  // what is before it takes its time
  static_assert(blocks * 8 == Residual::square_part);
  float* h;
  S* scaled;
  float* squares;  // [T, parts]
  const float* scale;
  float inverse;  // of the scale of `scaled`
  int width, parts;

  struct Rows {
    int row[2];  // the last where a row is beyond it
    bool present[2];
  };
  struct Inputs {
    float2 h[2][blocks];
    float2 scale[blocks];
  };

  __device__ std::int64_t at(int row, int output) const { return static_cast<std::int64_t>(row) * width + output; }
  __device__ Rows rows(int row, int count) const {
    return {{min(row, count - 1), min(row + 8, count - 1)}, {row < count, row + 8 < count}};
  }
  __device__ Inputs inputs(const Rows& rows, int output) const {
    Inputs in;
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      for (int s = 0; s < 2; ++s)
        in.h[s][b] = load_here(reinterpret_cast<const float2*>(h + at(rows.row[s], output + 8 * b)));
      in.scale[b] = __ldg(reinterpret_cast<const float2*>(scale + output + 8 * b));
    }
    return in;
  }
  // Of 32 columns each of four lanes has two of every eight; it stores eight side by side.
  static __device__ void store_together(__nv_bfloat16* to, const float2 (&own)[blocks]) {
    std::uint32_t pair[blocks];
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      const __nv_bfloat162 both = __floats2bfloat162_rn(own[b].x, own[b].y);
      pair[b] = *reinterpret_cast<const std::uint32_t*>(&both);
    }
    const int lane = threadIdx.x % 4;
    const bool odd = lane % 2 == 1, high = lane >= 2;
    const std::uint32_t near[2] = {__shfl_xor_sync(~0u, odd ? pair[0] : pair[1], 1),
                                   __shfl_xor_sync(~0u, odd ? pair[2] : pair[3], 1)};
    const uint2 low = odd ? make_uint2(near[0], pair[1]) : make_uint2(pair[0], near[0]);
    const uint2 up = odd ? make_uint2(near[1], pair[3]) : make_uint2(pair[2], near[1]);
    const uint2 given = high ? low : up;
    const uint2 far = {__shfl_xor_sync(~0u, given.x, 2), __shfl_xor_sync(~0u, given.y, 2)};
    if (to != nullptr)
      *reinterpret_cast<uint4*>(to + lane * 8) =
          high ? make_uint4(far.x, far.y, up.x, up.y) : make_uint4(low.x, low.y, far.x, far.y);
  }
  static __device__ void store_together(__nv_fp8_e4m3* to, const float2 (&own)[blocks]) {
    std::uint32_t pair[blocks];
#pragma unroll
    for (int b = 0; b < blocks; ++b) pair[b] = __nv_cvt_float2_to_fp8x2(own[b], __NV_SATFINITE, __NV_E4M3);
    const int lane = threadIdx.x % 4;
    const bool odd = lane % 2 == 1, high = lane >= 2;
    const std::uint32_t near = __shfl_xor_sync(~0u, odd ? pair[0] | pair[2] << 16 : pair[1] | pair[3] << 16, 1);
    const std::uint32_t low = odd ? (near & 0xffff) | pair[1] << 16 : pair[0] | near << 16;
    const std::uint32_t up = odd ? near >> 16 | pair[3] << 16 : pair[2] | (near & 0xffff0000);
    const std::uint32_t far = __shfl_xor_sync(~0u, high ? low : up, 2);
    if (to != nullptr) *reinterpret_cast<uint2*>(to + lane * 8) = high ? make_uint2(far, up) : make_uint2(low, far);
  }
  __device__ void finish(const Rows& rows, int output, const float4 (&v)[blocks], const Inputs& in) const {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      float square = 0;
      float2 stream[blocks];
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        const float2 more = s == 0 ? make_float2(v[b].x, v[b].y) : make_float2(v[b].z, v[b].w);
        const float2 next = {in.h[s][b].x + more.x, in.h[s][b].y + more.y};
        square += next.x * next.x + next.y * next.y;
        stream[b] = {next.x * (in.scale[b].x * inverse), next.y * (in.scale[b].y * inverse)};
        if (rows.present[s]) *reinterpret_cast<float2*>(h + at(rows.row[s], output + 8 * b)) = next;
      }
      const std::int64_t begin = at(rows.row[s], output / Residual::square_part * Residual::square_part);
      store_together(rows.present[s] ? scaled + begin : nullptr, stream);
      square += __shfl_xor_sync(~0u, square, 1);
      square += __shfl_xor_sync(~0u, square, 2);
      if (threadIdx.x % 4 == 0 && rows.present[s])
        squares[static_cast<std::int64_t>(rows.row[s]) * parts + output / Residual::square_part] = square;
    }
  }
};

}  // namespace

void wide_fused_add(const Stream& stream, const WideTile& tile, const Residual& h, const WideProduct& product,
                    const Tensor& gate, const Tensor& next_scale) {
  const auto run = [&]<typename S>(Type<S>) {
    const FusedAddEpilogue<S> epilogue{.h = h.h.as<float>(),
                                       .scaled = data<S>(h.scaled),
                                       .squares = h.squares.as<float>(),
                                       .scale = data<const float>(next_scale),
                                       .inverse = 1.0f / h.scaled.scale,
                                       .width = static_cast<int>(h.h.columns),
                                       .parts = static_cast<int>(h.squares.columns)};
    launch_wide<wide_fused_add_tiles>(stream, tile, product, gate, epilogue);
  };
  if (h.scaled.dtype == DType::e4m3) run(Type<__nv_fp8_e4m3>{});
  else run(Type<__nv_bfloat16>{});
}

}  // namespace nervus::cuda
