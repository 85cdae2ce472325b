// The menu: CUDA's kernels, one file each in kernels/, named and defined as in backends/kernels.h. Each starts its work
// on the stream and returns.
#pragma once

#include "backends/cuda/handles.h"
#include "backends/kernels.h"

namespace nervus::cuda {

void rms_norm(const Stream& stream, const Tensor& y, const Tensor& h, const Norm& norm);
// A negative slot stores nothing.
void split_rope(const Stream& stream, const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv,
                const Heads& heads, const Rope& rope);
// Heads of at most 256 columns.
void attention(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges,
               const Heads& heads);
// Streams of few rows: q and y tiled, heads of 128 columns, bf16.
void attention_narrow(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache,
                      const Visible& visible, const Heads& heads);
// Many rows: heads of 64, 80 or 128 columns, bf16; y may be f16 or e4m3.
void attention_tile(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache,
                    const Visible& visible, const Heads& heads);
// The same on compute capability 9.0.
void attention_tile_sm90(const Stream& stream, const Tensor& y, const Tensor& q, const KeyValues& cache,
                         const Visible& visible, const Heads& heads);
// Why neither has the call, in words; empty where both have it.
std::string attention_tile_refusal(const Tensor& y, const Tensor& q, const KeyValues& cache, const Heads& heads);
void swiglu(const Stream& stream, const Tensor& y, const Tensor& x);
void silu(const Stream& stream, const Tensor& y, const Tensor& x);
void gelu(const Stream& stream, const Tensor& y, const Tensor& x);
// A negative index leaves y's row as it is.
void cut_patches(const Stream& stream, const Tensor& y, const Tensor& pixels, const Tensor& levels,
                 const PatchGeometry& geometry);
void gather_rows(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& index);
void euler_step(const Stream& stream, const Tensor& x, const Tensor& v, float dt);

// y = x W^T + b, or with `add` y += gate * (x W^T + b); bias and gate f32 [1, N] or empty. In 8 bits, `scale` f32 [1,
// N] is each output's of the weight, in e4m3 times that of x; in int8 x has its rows' own.
struct LinearCall {
  Tensor y;
  Tensor x;
  Tensor bias;
  Tensor gate;
  Tensor scale = {};
  bool add = false;
};

// Of any shape; weight [N, K] of x's type.
void plain_linear(const Stream& stream, const LinearCall& call, const Tensor& weight);
// All of the call but the product: sum f32 [T, N] is that of what is stored.
void finish_linear(const Stream& stream, const LinearCall& call, const Tensor& sum);
// A weight x bf16 [N, K] into y, e4m3 or int8, and its scale, which input_scale, that of the linear's input, is part
// of.
void quantise_rows(const Stream& stream, const Tensor& y, const Tensor& scale, const Tensor& x, float input_scale);

// The largest |x|, infinite where one is NaN; waits for it.
float largest(const Stream& stream, const Tensor& x);

// Whether this build's kernels were compiled for the device in use.
bool has_kernels_for_current_device();

}  // namespace nervus::cuda
