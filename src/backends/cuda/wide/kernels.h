// The wide linears: products of many rows with what follows them in one kernel each, on compute capability 9.0. See
// product_sm90.cuh and tile.h.
#pragma once

#include "backends/cuda/handles.h"
#include "backends/cuda/wide/tile.h"
#include "backends/kernels.h"

namespace nervus::cuda {

// x W^T + b, where the rows of W, b and the scale are in the order of the role (wide_source_row).
struct WideProduct {
  Tensor x;       // [T, K], bf16, f16, e4m3 or int8
  Tensor weight;  // [N, K], the same
  Tensor scale;   // of 8 bits: f32 [1, N], each output's of the weight, in e4m3 times that of x; otherwise empty
  Tensor bias;    // f32 [1, N], or empty
  // f32 [T, K / 32], of x that is a residual stream before its norm (Residual): a row's sums are divided by its norm.
  // Otherwise empty.
  Tensor squares = {};
};

void wide_linear_add(const Stream& stream, const WideTile& tile, const Tensor& h, const WideProduct& product,
                     const Tensor& gate);
void wide_qkv(const Stream& stream, const WideTile& tile, const Tensor& q, const KeyValues& cache, const Tensor& slots,
              const WideProduct& product, const Heads& heads, const Rope& rope);
void wide_gate_up(const Stream& stream, const WideTile& tile, const Tensor& y, const WideProduct& product);
// As fused_linear_add of backends/kernels.h.
void wide_fused_add(const Stream& stream, const WideTile& tile, const Residual& h, const WideProduct& product,
                    const Tensor& gate, const Tensor& next_scale);

// y [N, columns] <- x's rows in the order of the role; bf16, f16 or f32.
void wide_pack(const Stream& stream, const Tensor& y, const Tensor& x, WideRole role, std::int64_t head_size);
// folded f32 [1, N] = bias + W shift, of the product's weight; either may be empty. `input_scale`: that of its inputs.
void wide_fold(const Stream& stream, const Tensor& folded, const WideProduct& product, const Tensor& shift,
               float input_scale);

}  // namespace nervus::cuda
