// The fused linears of a transformer block, for streams of few rows (an action expert's): norm, product and what
// follows it in one kernel each, chained by programmatic dependent launch so that weights arrive while the kernel
// before still runs. One thread block cluster a tile of outputs; see layout.h and product_sm90.cuh.
#pragma once

#include "backends/cuda/block/layout.h"
#include "backends/cuda/handles.h"
#include "backends/kernels.h"

namespace nervus::cuda {

// What the fused kernels need of one linear.
struct BlockProduct {
  const void* packed = nullptr;
  BlockLayout layout;
  Tensor scale;  // of e4m3: f32 [1, N] in packed order, the output's scale times that of the input
};

// Packs W, row-major [N, K] on the device. `packed` holds layout.elements() of the same format.
void pack_block(const Stream& stream, void* packed, const void* weight, const BlockLayout& layout);
// Values of the outputs, f32 [1, N], in packed order.
void order_block(const Stream& stream, const Tensor& packed, const Tensor& values, const BlockLayout& layout);
// folded f32 [1, N] in packed order = bias + W shift; either may be empty.
void fold_block(const Stream& stream, const Tensor& folded, const Linear& w, const Tensor& shift);

void block_qkv(const Stream& stream, const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h,
               const Norm& norm, const Linear& w, const Rope& rope);
void block_gate_up(const Stream& stream, const Tensor& y, const Residual& h, const Norm& norm, const Linear& w);
void block_linear_add(const Stream& stream, const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                      const Norm& next);
// As fused_embed, fused_euler_step and fused_silu of backends/kernels.h.
void block_embed(const Stream& stream, const Residual& h, const Tensor& first, const Tensor& x, const Linear& w,
                 const Norm& next);
void block_euler_step(const Stream& stream, const Tensor& x, const Residual& h, const Norm& norm, const Linear& w,
                      float dt);
void silu_linear(const Stream& stream, const Tensor& y, const Tensor& x, const Linear& w);
// Whether silu_linear has the shape.
bool silu_linear_fits(const Linear& w);
void start_residual(const Stream& stream, const Residual& h, const Norm& next);

}  // namespace nervus::cuda
