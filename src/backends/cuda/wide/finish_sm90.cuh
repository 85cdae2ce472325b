// From the sums of a wide product (product_sm90.cuh) to what its epilogue makes of them, straight from the registers.
// A finish asks for what is known of a call before its block has met the others, prepares while the first tiles are on
// their way, loads what else it needs while the last products run (before, a product would wait for the loads), and is
// called when the sums are there. Those through shared memory, beside a ring in use, and across blocks:
// finish_staged_sm90.cuh, finish_passes_sm90.cuh, finish_split_sm90.cuh.
#pragma once

#include "backends/cuda/wide/cut_sm90.cuh"

namespace nervus::cuda {

// What one of a block's outputs, number i from `first` on, is multiplied by, and what is added then.
struct WideConstant {
  float2 value;

  __device__ WideConstant(const WideArguments& a, int first, int i) {
    const int n = min(first + i, a.outputs - 1);
    const float gate = a.gate != nullptr ? a.gate[n] : 1.0f;
    value = make_float2((a.scale != nullptr ? a.scale[n] : 1.0f) * gate, (a.bias != nullptr ? a.bias[n] : 0.0f) * gate);
  }
};

// Sums of two rows and outputs as the linear's values; `column` is that of the first output in the tile.
__device__ inline float4 wide_value(const float4& sum, const float2* constants, int column) {
  const float4 c = *reinterpret_cast<const float4*>(constants + column);
  return make_float4(sum.x * c.x + c.y, sum.y * c.z + c.w, sum.z * c.x + c.y, sum.w * c.z + c.w);
}

// Epilogue: `fused` tells that it is of a fused block, `normed` that x is then a stream before its norm (Residual).
// `blocks` columns of 8 are finished together. rows(row, T) is what it needs of rows row and row + 8, also of
// such as are not there; inputs(rows, output) is what it loads ahead; finish() takes the values of both rows, of
// outputs output + 8 b and + 1.
template <typename Tile, typename Epilogue>
struct WideFinish {
  static_assert(Tile::rows == 128);
  static constexpr int Blocks = Epilogue::blocks, units = Tile::columns / 8 / Blocks;
  static constexpr int ahead = units < Epilogue::ahead ? units : Epilogue::ahead;
  static constexpr bool early = units == ahead && Tile::sums <= 64;  // there are registers for all inputs
  const WideArguments& a;
  const Epilogue& epilogue;
  const int lane = threadIdx.x % 32;
  const int first_column;
  const typename Epilogue::Rows rows;
  typename Epilogue::Inputs inputs[ahead];

  __device__ WideFinish(const WideArguments& a, const WidePlace<Tile>& place, const Epilogue& epilogue)
      : a(a),
        epilogue(epilogue),
        first_column(place.column_tile * Tile::columns),
        rows(epilogue.rows(place.row_tile * Tile::rows + static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4, a.rows)) {}

  __device__ void prepare() {}
  __device__ void load() {
    if constexpr (early) load(0);
  }
  __device__ void load(int first) {
    const int last = a.outputs - 8 * Blocks + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      const int output = first_column + (first + i) * 8 * Blocks + lane % 4 * 2;
      if (first + i < units) inputs[i] = epilogue.inputs(rows, min(output, last));
    }
  }

  __device__ void operator()(const float (&sums)[Tile::columns / 2], const float2* constants) {
#pragma unroll
    for (int first = 0; first < units; first += ahead) {
      if constexpr (!early) load(first);
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        const int column = (first + i) * 8 * Blocks + lane % 4 * 2;
        if (first + i >= units || first_column + column >= a.outputs) continue;
        float4 values[Blocks];
#pragma unroll
        for (int b = 0; b < Blocks; ++b) {
          const float* s = sums + ((first + i) * Blocks + b) * 4;
          values[b] = wide_value(make_float4(s[0], s[1], s[2], s[3]), constants, column + 8 * b);
        }
        epilogue.finish(rows, first_column + column, values, inputs[i]);
      }
    }
  }
};

}  // namespace nervus::cuda
