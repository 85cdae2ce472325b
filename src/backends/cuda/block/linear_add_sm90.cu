// h [T, D] += gate (x W^T + b), x and W bf16 or e4m3, and what the next norm needs: scaled = h scale in bf16, or in
// e4m3 over its scale, squares = sums of h^2 over 32 columns. Work: product_sm90.cuh; a cluster makes 32 outputs, each
// of its first four blocks finishes 16 rows of them. Bound: see product_sm90.cuh; 768 x 2752 at 51 rows are 4.2 MB of
// weights, 0.9 us at memory rate; half of it in e4m3. Reference: ReferenceKernels::linear_add, rms_norm.
#include "backends/cuda/attention/span.cuh"
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/launch_sm90.cuh"
#include "backends/cuda/block/product_sm90.cuh"

namespace nervus::cuda {
namespace {

// `Embeds`: h is no sum but what x W^T + b is, after its first rows, which are given (and of x zero). `Scaled`: an
// output is `unit` times its sum. `S`: of the stream that the next norm's linear reads.
template <bool Embeds, bool Scaled, typename S>
struct AddEpilogue {
  static constexpr bool normed = false;
  static constexpr int blocks = 1;
  const float* bias;  // or null
  const float* gate;  // or null
  const float* scale;
  float* h;
  S* scaled;           // tiled
  float inverse;       // of its scale
  float* squares;      // [rows, parts]
  const float* first;  // [first_rows, D]
  int first_rows;
  int width, parts;
  const float* unit;  // [D] where Scaled

  // Of a thread that finishes. `kept` lies in shared memory, where it does not take the registers of x; the 16 x 8
  // values that a warp adds to come there too, and sums of squares.
  struct Constants {
    const float* from;  // 16 bytes of what the warp adds to, or null
    float* h[2];        // of two rows, or null
    S* scaled;
    bool is_first[2];  // whether the rows are among the given
  };
  struct Kept {
    float2 bias, gate, scale;  // where Scaled the bias times the gate, and the unit times the gate
  };
  struct Ready {
    Kept kept;
    float2 before[2];
  };
  struct Own {
    float h[4][16][8];
    float squares[16][4];
    Kept kept[128];
  };
  static constexpr int shared_bytes = sizeof(Own);

  static __device__ float2 pair_or(const float* values, int output, float fallback) {
    return values == nullptr ? make_float2(fallback, fallback) : *reinterpret_cast<const float2*>(values + output);
  }
  __device__ Constants constants(int row, int output, int rows, std::byte* shared) const {
    Kept& kept = reinterpret_cast<Own*>(shared)->kept[threadIdx.x];
    kept = {pair_or(bias, output, 0), pair_or(gate, output, 1), pair_or(scale, output, 1)};
    if constexpr (sizeof(S) == 1) kept.scale.x *= inverse, kept.scale.y *= inverse;
    if constexpr (Scaled) {
      const float2 units = pair_or(unit, output, 1), gates = kept.gate;
      kept.bias.x *= gates.x, kept.bias.y *= gates.y;
      kept.gate.x *= units.x, kept.gate.y *= units.y;
    }
    const int lane = threadIdx.x % 32, from = row - lane / 4 + lane / 2, column = output / 8 * 8 + lane % 2 * 4;
    Constants c{};
    if constexpr (Embeds) {
      auto* own = &reinterpret_cast<Own*>(shared)->h[threadIdx.x / 32][lane / 2][lane % 2 * 4];
      *reinterpret_cast<float4*>(own) = make_float4(0, 0, 0, 0);
    }
    const float* before = Embeds ? first : h;
    if (from < (Embeds ? first_rows : rows)) c.from = before + static_cast<std::int64_t>(from) * width + column;
    for (int s = 0; s < 2; ++s) {
      c.is_first[s] = Embeds && row + 8 * s < first_rows;
      if (row + 8 * s < rows) c.h[s] = h + static_cast<std::int64_t>(row + 8 * s) * width + output;
    }
    if (row < rows) c.scaled = scaled + tiled_offset(row, output, width, sizeof(S));
    return c;
  }
  __device__ void inputs(const Constants& c, std::byte* shared) const {
    const int lane = threadIdx.x % 32;
    if (c.from != nullptr) {
      copy_async(&reinterpret_cast<Own*>(shared)->h[threadIdx.x / 32][lane / 2][lane % 2 * 4], c.from);
    }
    copies_commit();
  }
  __device__ Ready ready(std::byte* shared) const {
    copies_wait<0>();
    __syncwarp();
    const Own& own = *reinterpret_cast<const Own*>(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    Ready ready{own.kept[threadIdx.x],
                {*reinterpret_cast<const float2*>(&own.h[warp][lane / 4][lane % 4 * 2]),
                 *reinterpret_cast<const float2*>(&own.h[warp][lane / 4 + 8][lane % 4 * 2])}};
    if constexpr (Scaled) {
      for (float2& before : ready.before) before.x += ready.kept.bias.x, before.y += ready.kept.bias.y;
    }
    return ready;
  }

  __device__ void finish(const float4 (&sum)[1], const Constants& c, const Ready& ready, std::byte* shared) const {
    Own& own = *reinterpret_cast<Own*>(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Kept& k = ready.kept;
    const float2 v[2] = {{sum[0].x, sum[0].y}, {sum[0].z, sum[0].w}};
    float next_scaled[2][2];
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      float2 next = ready.before[s];
      if constexpr (Scaled) {
        next.x += k.gate.x * v[s].x;
        next.y += k.gate.y * v[s].y;
      } else if (!c.is_first[s]) {
        next.x += k.gate.x * (v[s].x + k.bias.x);
        next.y += k.gate.y * (v[s].y + k.bias.y);
      }
      next_scaled[s][0] = next.x * k.scale.x, next_scaled[s][1] = next.y * k.scale.y;
      if (c.h[s] != nullptr) *reinterpret_cast<float2*>(c.h[s]) = next;
      float square = next.x * next.x + next.y * next.y;
      square += __shfl_xor_sync(~0u, square, 1);
      square += __shfl_xor_sync(~0u, square, 2);
      if (lane % 4 == 0) own.squares[lane / 4 + 8 * s][warp] = square;
    }
    if (c.scaled == nullptr) return;
    if constexpr (sizeof(S) == 1) {  // what lies between is another warp's
      store<2>(c.scaled, next_scaled[0]);
      store<2>(c.scaled + 4, next_scaled[1]);
    } else {
      const __nv_bfloat162 both[2] = {__floats2bfloat162_rn(next_scaled[0][0], next_scaled[0][1]),
                                      __floats2bfloat162_rn(next_scaled[1][0], next_scaled[1][1])};
      *reinterpret_cast<uint2*>(c.scaled) = *reinterpret_cast<const uint2*>(both);
    }
  }
  __device__ void finish_rows(int first_row, int part, int rows, const std::byte* shared) const {
    const int row = static_cast<int>(threadIdx.x);
    if (row >= 16 || first_row + row >= rows) return;
    const float4 sum = *reinterpret_cast<const float4*>(reinterpret_cast<const Own*>(shared)->squares[row]);
    squares[static_cast<std::int64_t>(first_row + row) * parts + part] = sum.x + sum.y + sum.z + sum.w;
  }
};

// Rows of h as the first norm wants them: one block a row, one warp a part.
template <typename S>
__global__ void start_residual_kernel(const float* h, const float* scale, S* scaled, bool tiled, float inverse,
                                      float* squares, int width, int parts) {
  begin();
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  const std::int64_t row = blockIdx.x;
  for (int part = threadIdx.x / 32; part < parts; part += warps) {
    const int column = part * 32 + lane;
    const float value = column < width ? __ldcg(h + row * width + column) : 0.0f;
    if (column < width) {
      const std::int64_t at = tiled ? tiled_offset(row, column, width, sizeof(S)) : row * width + column;
      scaled[at] = from_float<S>(value * (scale[column] * inverse));
    }
    float sum = value * value;
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0) squares[row * parts + part] = sum;
  }
}

}  // namespace

namespace {

template <bool Embeds, bool Scaled, typename S>
void start(const Stream& stream, const Residual& h, const Tensor& first, const Tensor& x, const Linear& w,
           const Tensor& gate, const Norm& next) {
  const auto& product = *static_cast<const BlockProduct*>(w.weight.get());
  const AddEpilogue<Embeds, Scaled, S> epilogue{.bias = data<const float>(w.bias),
                                                .gate = data<const float>(gate),
                                                .scale = next.scale.as<float>(),
                                                .h = h.h.as<float>(),
                                                .scaled = data<S>(h.scaled),
                                                .inverse = 1.0f / h.scaled.scale,
                                                .squares = h.squares.as<float>(),
                                                .first = data<const float>(first),
                                                .first_rows = static_cast<int>(first.rows),
                                                .width = static_cast<int>(h.h.columns),
                                                .parts = static_cast<int>(h.squares.columns),
                                                .unit = data<const float>(product.scale)};
  const int steps = product.layout.steps;
  // Behind the norm of `out` comes gate_up, whose weights take longer than this kernel.
  const Next when = !Embeds && next.folded.columns > 2 * w.inputs ? Next::at_once : Next::behind_the_wait;
  if constexpr (Scaled) {
    if (steps == 8) launch_block<32, 4, 8, 8, __nv_fp8_e4m3>(stream, w, x, {}, epilogue, when);
    else launch_block<32, 4, 11, 9, __nv_fp8_e4m3>(stream, w, x, {}, epilogue, when);
  } else {
    if (steps == 6) launch_block<32, 4, 6>(stream, w, x, {}, epilogue, when);
    else if (steps == 16) launch_block<32, 4, 16>(stream, w, x, {}, epilogue, when);
    else launch_block<32, 5, 18, 10>(stream, w, x, {}, epilogue, when);
  }
}

}  // namespace

void block_linear_add(const Stream& stream, const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                      const Norm& next) {
  with_element(h.scaled.dtype, [&]<typename S>(Type<S>) {
    if (x.dtype == DType::e4m3) start<false, true, S>(stream, h, {}, x, w, gate, next);
    else start<false, false, S>(stream, h, {}, x, w, gate, next);
  });
}

void block_embed(const Stream& stream, const Residual& h, const Tensor& first, const Tensor& x, const Linear& w,
                 const Norm& next) {
  with_element(h.scaled.dtype, [&]<typename S>(Type<S>) { start<true, false, S>(stream, h, first, x, w, {}, next); });
}

void start_residual(const Stream& stream, const Residual& h, const Norm& next) {
  with_element(h.scaled.dtype, [&]<typename S>(Type<S>) {
    launch(stream, {.blocks = dim3(static_cast<unsigned>(h.h.rows)), .threads = 256}, start_residual_kernel<S>,
           data<const float>(h.h), data<const float>(next.scale), data<S>(h.scaled), h.scaled.tiled,
           1.0f / h.scaled.scale, data<float>(h.squares), static_cast<int>(h.h.columns),
           static_cast<int>(h.squares.columns));
  });
}

}  // namespace nervus::cuda
