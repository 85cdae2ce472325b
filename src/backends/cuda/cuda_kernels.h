// CudaKernels: who computes each method of Kernels on a CUDA device.
#pragma once

#include <utility>

#include "backends/cuda/attention/choice.h"
#include "backends/cuda/block/kernels.h"
#include "backends/cuda/kernels.h"
#include "backends/cuda/linears.h"
#include "backends/cuda/wide/products.h"

namespace nervus::cuda {

class CudaKernels final : public Kernels {
 public:
  CudaKernels(const Stream& stream, Arena& arena, bool fuse, Attention attention, ChoiceIdentity identity)
      : stream_(stream),
        choices_(std::move(identity)),
        linears_(stream, arena, choices_),
        wide_(stream, arena, choices_),
        attention_(attention, fuse && stream.major() == 9) {}

  Choices& choices() { return choices_; }
  const Choices& choices() const { return choices_; }
  Linears& linears() { return linears_; }
  const Linears& linears() const { return linears_; }
  WideProducts& wide() { return wide_; }
  const WideProducts& wide() const { return wide_; }
  const AttentionChoice& attention_choice() const { return attention_; }

  void linear(const Tensor& y, const Tensor& x, const Linear& w) override { linears_.run(y, x, w, {}, false); }
  void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) override {
    linears_.run(h, x, w, gate, true);
  }
  void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) override { cuda::rms_norm(stream_, y, h, norm); }
  void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                  const Rope& rope) override {
    cuda::split_rope(stream_, q, cache, slots, qkv, heads, rope);
  }
  void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Visible& visible,
                 const Heads& heads) override {
    const AttentionKernel kernel = attention_.choose(y, q, cache, heads);
    if (kernel == AttentionKernel::narrow) return attention_narrow(stream_, y, q, cache, visible, heads);
    if (kernel == AttentionKernel::tile) return attention_tile(stream_, y, q, cache, visible, heads);
    if (kernel == AttentionKernel::tile_sm90) return attention_tile_sm90(stream_, y, q, cache, visible, heads);
    cuda::attention(stream_, y, q, cache, visible.ranges, heads);
  }
  void swiglu(const Tensor& y, const Tensor& x) override { cuda::swiglu(stream_, y, x); }
  void silu(const Tensor& y, const Tensor& x) override { cuda::silu(stream_, y, x); }
  void gelu(const Tensor& y, const Tensor& x) override { cuda::gelu(stream_, y, x); }
  void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) override {
    cuda::gather_rows(stream_, y, x, index);
  }
  void cut_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels,
                   const PatchGeometry& geometry) override {
    cuda::cut_patches(stream_, y, pixels, levels, geometry);
  }
  void euler_step(const Tensor& x, const Tensor& v, float dt) override { cuda::euler_step(stream_, x, v, dt); }
  void start_residual(const Residual& h, const Norm& next) override { cuda::start_residual(stream_, h, next); }
  void fused_linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                        const Norm& next) override {
    if (w.wide) return wide_.linear_add(h, x, w, gate, next);
    block_linear_add(stream_, h, x, w, gate, next);
  }
  void fused_qkv(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h, const Norm& norm,
                 const Linear& w, const Rope& rope) override {
    if (w.wide) return wide_.qkv(q, cache, slots, h, norm, w, rope);
    block_qkv(stream_, q, cache, slots, h, norm, w, rope);
  }
  void fused_gate_up(const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) override {
    if (w.wide) return wide_.gate_up(y, h, norm, w);
    block_gate_up(stream_, y, h, norm, w);
  }
  void fused_silu(const Tensor& y, const Tensor& x, const Linear& w) override { silu_linear(stream_, y, x, w); }
  void fused_embed(const Residual& h, const Tensor& first, const Tensor& x, const Linear& w,
                   const Norm& next) override {
    block_embed(stream_, h, first, x, w, next);
  }
  void fused_euler_step(const Tensor& x, const Residual& h, const Norm& norm, const Linear& w, float dt) override {
    block_euler_step(stream_, x, h, norm, w, dt);
  }

 private:
  const Stream& stream_;
  Choices choices_;
  Linears linears_;
  WideProducts wide_;
  AttentionChoice attention_;
};

}  // namespace nervus::cuda
