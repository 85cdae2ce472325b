// From the sums of a wide product (product_sm90.cuh) to what its epilogue makes of them: straight from the registers,
// or through shared memory, or across the blocks that share a sum's inputs.
#pragma once

#include "backends/cuda/wide/cut_sm90.cuh"

namespace nervus::cuda {

// What a block's outputs are multiplied by, and what is added then.
template <typename Tile>
__device__ void wide_load_constants(float2* constants, const WideArguments& a, const WidePlace<Tile>& place) {
  for (int i = static_cast<int>(threadIdx.x); i < Tile::columns; i += wide_warps * 32) {
    const int n = min(place.column_tile * Tile::columns + i, a.outputs - 1);
    const float gate = a.gate != nullptr ? a.gate[n] : 1.0f;
    constants[i] =
        make_float2((a.scale != nullptr ? a.scale[n] : 1.0f) * gate, (a.bias != nullptr ? a.bias[n] : 0.0f) * gate);
  }
  wide_meet();
}

// Sums of two rows and outputs as the linear's values; `column` is that of the first output in the tile.
__device__ inline float4 wide_value(const float4& sum, const float2* constants, int column) {
  const float4 c = *reinterpret_cast<const float4*>(constants + column);
  return make_float4(sum.x * c.x + c.y, sum.y * c.z + c.w, sum.z * c.x + c.y, sum.w * c.z + c.w);
}

// Epilogue: `blocks` columns of 8 are finished together. rows(row, T) is what it needs of rows row and row + 8, also of
// such as are not there; inputs(rows, output) is what it loads ahead; finish() takes the values of both rows, of
// outputs output + 8 b and + 1.
template <typename Tile, typename Epilogue, int Tiles>
__device__ void wide_finish(const float (&sums)[Tiles][Tile::columns / 2], const WideArguments& a,
                            const WidePlace<Tile>& place, const float2* constants, const Epilogue& epilogue) {
  constexpr int Blocks = Epilogue::blocks, units = Tile::columns / 8 / Blocks, ahead = Epilogue::ahead;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, last = a.outputs - 8 * Blocks;
  const int first_output = place.column_tile * Tile::columns + lane % 4 * 2;
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int row = place.row_tile * Tile::rows + (warp / 4 * Tiles + tile) * 64 + warp % 4 * 16 + lane / 4;
    const auto rows = epilogue.rows(row, a.rows);
#pragma unroll
    for (int first = 0; first < units; first += ahead) {
      typename Epilogue::Inputs inputs[ahead];
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        if (first + i < units) {
          inputs[i] = epilogue.inputs(rows, min(first_output + (first + i) * 8 * Blocks, last + lane % 4 * 2));
        }
      }
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        const int column = (first + i) * 8 * Blocks + lane % 4 * 2;
        if (first + i >= units || place.column_tile * Tile::columns + column >= a.outputs) continue;
        float4 values[Blocks];
#pragma unroll
        for (int b = 0; b < Blocks; ++b) {
          const float* s = sums[tile] + ((first + i) * Blocks + b) * 4;
          values[b] = wide_value(make_float4(s[0], s[1], s[2], s[3]), constants, column + 8 * b);
        }
        epilogue.finish(rows, place.column_tile * Tile::columns + column, values, inputs[i]);
      }
    }
  }
}

// The same through shared memory, which gathers eight channels of a row into one access: epilogue.stage() puts values
// of two rows, of channels channel and + 1 of each of its columns of 8, there; epilogue.early() is what it loads ahead
// for 8 channels of a row (output < 0: none); epilogue.store() takes them from there.
template <typename Tile, typename Epilogue, int Tiles>
__device__ void wide_finish_staged(const float (&sums)[Tiles][Tile::columns / 2], const WideArguments& a,
                                   const WidePlace<Tile>& place, const float2* constants, std::byte* memory,
                                   const Epilogue& epilogue) {
  constexpr int Blocks = Epilogue::blocks, chunks = Tile::columns / 8 / Blocks, items = (16 * chunks + 31) / 32;
  // Of a row: so that those of a warp's eight rows fall on different banks.
  constexpr int stride = (Epilogue::staged_bytes * chunks + 127) / 128 * 128 + 16;
  static_assert(wide_warps * 16 * stride <= WideShared<Tile>::received);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  std::byte* area = memory + warp * 16 * stride;
  wide_meet();  // nobody reads the ring any more
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) {
    const int first_row = place.row_tile * Tile::rows + (warp / 4 * Tiles + tile) * 64 + warp % 4 * 16;
    const auto rows = epilogue.rows(first_row + lane % 16, a.rows);  // of lane % 16
    if (tile > 0) __syncwarp();
#pragma unroll
    for (int chunk = 0; chunk < chunks; ++chunk) {
      float4 values[Blocks];
#pragma unroll
      for (int b = 0; b < Blocks; ++b) {
        const float* s = sums[tile] + (chunk * Blocks + b) * 4;
        values[b] = wide_value(make_float4(s[0], s[1], s[2], s[3]), constants, (chunk * Blocks + b) * 8 + lane % 4 * 2);
      }
      std::byte* row = area + lane / 4 * stride;
      epilogue.template stage<chunks>(row, row + 8 * stride, chunk * 8 + lane % 4 * 2, values);
    }
    const auto row_of = [&](int i) { return min((i * 32 + lane) / chunks, 15); };
    const auto chunk_of = [&](int i) { return (i * 32 + lane) % chunks; };
    const auto output_of = [&](int i) {
      const int output = place.column_tile * Tile::columns + chunk_of(i) * 8 * Blocks;
      return i * 32 + lane < 16 * chunks && output < a.outputs ? output : -1;
    };
    typename Epilogue::Early early[items];
#pragma unroll
    for (int i = 0; i < items; ++i) early[i] = epilogue.early(rows, row_of(i), output_of(i));
    __syncwarp();
#pragma unroll
    for (int i = 0; i < items; ++i) {
      epilogue.template store<chunks>(early[i], output_of(i), area + row_of(i) * stride, chunk_of(i));
    }
  }
}

// The same where the inputs are split: a block finishes 1 / split of the rows, in units of 16 rows x 8 blocks outputs.
template <typename Tile, typename Epilogue>
__device__ void wide_finish_split(const float (&sums)[Tile::columns / 2], const WideArguments& a,
                                  const WidePlace<Tile>& place, const float2* constants, std::byte* memory,
                                  std::uint64_t* arrived, const Epilogue& epilogue) {
  constexpr int Blocks = Epilogue::blocks, across = Tile::columns / 8 / Blocks, tiles = Tile::rows / 16 / Tile::split;
  constexpr int units = tiles * across, rounds = (units + wide_warps - 1) / wide_warps;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, last = a.outputs - 8 * Blocks;
  auto* received = reinterpret_cast<float4*>(memory) + lane;
  const int owner = warp / tiles;  // the part that finishes this warp's rows
  const int owner_rank = owner * WidePlace<Tile>::sharers + place.share;
#pragma unroll
  for (int n = 0; n < Tile::columns / 8; ++n) {
    float4* at = received + (place.part * units * Blocks + warp % tiles * (Tile::columns / 8) + n) * 32;
    const float4 sum = make_float4(sums[4 * n], sums[4 * n + 1], sums[4 * n + 2], sums[4 * n + 3]);
    if (owner == place.part) *at = sum;
    else store_remote(remote_address(at, owner_rank), remote_address(arrived, owner_rank), sum);
  }
  const auto column_of = [&](int unit) { return unit % across * 8 * Blocks + lane % 4 * 2; };
  typename Epilogue::Rows rows[rounds];
  typename Epilogue::Inputs inputs[rounds];
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    const int unit = min(warp + i * wide_warps, units - 1);
    const int row = place.row_tile * Tile::rows + (place.part * tiles + unit / across) * 16 + lane / 4;
    rows[i] = epilogue.rows(row, a.rows);
    inputs[i] = epilogue.inputs(rows[i], min(place.column_tile * Tile::columns + column_of(unit), last + lane % 4 * 2));
  }
  wide_meet();
  barrier_wait(arrived, 0);
#pragma unroll
  for (int i = 0; i < rounds; ++i) {
    const int unit = warp + i * wide_warps, column = column_of(unit);
    if (unit >= units || place.column_tile * Tile::columns + column >= a.outputs) continue;
    float4 values[Blocks];
#pragma unroll
    for (int b = 0; b < Blocks; ++b) {
      float4 sum = received[(unit * Blocks + b) * 32];
#pragma unroll
      for (int part = 1; part < Tile::split; ++part) {
        const float4 more = received[((part * units + unit) * Blocks + b) * 32];
        sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
      }
      values[b] = wide_value(sum, constants, column + 8 * b);
    }
    epilogue.finish(rows[i], place.column_tile * Tile::columns + column, values, inputs[i]);
  }
}

}  // namespace nervus::cuda
