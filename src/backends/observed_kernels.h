// ObservedKernels: a decorator that tells an observer of every op, before and after. Timing, counting and hunting
// for NaN are observers; models and kernels contain none of it.
#pragma once

#include <cstdint>
#include <string_view>

#include "backends/kernels.h"

namespace nervus {

// One op, as described by its tensors. FLOPs are those of linears; other ops count as memory traffic only.
struct OpEvent {
  const char* op = "";
  std::string_view name;  // of a linear; otherwise empty
  std::int64_t rows = 0;
  std::int64_t inputs = 0;   // columns read
  std::int64_t outputs = 0;  // columns written
  double flops = 0;
  double weight_bytes = 0;
  double bytes = 0;  // activations read and written, and the weight
  Tensor input;      // what was read; of a fused op the scaled residual stream, which is no norm yet
  Tensor result;     // what was written; valid in `after`
  Tensor scale;      // of a norm
};

class KernelObserver {
 public:
  virtual ~KernelObserver() = default;
  virtual void before(const OpEvent& event) = 0;
  virtual void after(const OpEvent& event) = 0;
};

// Of an op on whole tensors, and of a product.
OpEvent elementwise(const char* op, const Tensor& y, const Tensor& x);
OpEvent product(const char* op, const Tensor& y, const Tensor& x, const Linear& w);

class ObservedKernels : public Kernels {
 public:
  ObservedKernels(Kernels& inner, KernelObserver& observer) : inner_(inner), observer_(observer) {}

  void linear(const Tensor& y, const Tensor& x, const Linear& w) override {
    observe(product("linear", y, x, w), [&] { inner_.linear(y, x, w); });
  }
  void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) override {
    observe(product("linear_add", h, x, w), [&] { inner_.linear_add(h, x, w, gate); });
  }
  void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) override {
    OpEvent event = elementwise("rms_norm", y, h);
    event.scale = norm.scale;
    observe(event, [&] { inner_.rms_norm(y, h, norm); });
  }
  void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                  const Rope& rope) override {
    observe(elementwise("split_rope", q, qkv), [&] { inner_.split_rope(q, cache, slots, qkv, heads, rope); });
  }
  void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Visible& visible,
                 const Heads& heads) override {
    observe(elementwise("attention", y, q), [&] { inner_.attention(y, q, cache, visible, heads); });
  }
  void swiglu(const Tensor& y, const Tensor& x) override {
    observe(elementwise("swiglu", y, x), [&] { inner_.swiglu(y, x); });
  }
  void silu(const Tensor& y, const Tensor& x) override {
    observe(elementwise("silu", y, x), [&] { inner_.silu(y, x); });
  }
  void gelu(const Tensor& y, const Tensor& x) override {
    observe(elementwise("gelu", y, x), [&] { inner_.gelu(y, x); });
  }
  void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) override {
    observe(elementwise("gather_rows", y, x), [&] { inner_.gather_rows(y, x, index); });
  }
  void cut_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels,
                   const PatchGeometry& geometry) override {
    observe(elementwise("cut_patches", y, pixels), [&] { inner_.cut_patches(y, pixels, levels, geometry); });
  }
  void euler_step(const Tensor& x, const Tensor& v, float dt) override {
    observe(elementwise("euler_step", x, v), [&] { inner_.euler_step(x, v, dt); });
  }
  void start_residual(const Residual& h, const Norm& next) override {
    observe(elementwise("start_residual", h.scaled, h.h), [&] { inner_.start_residual(h, next); });
  }
  void fused_linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                        const Norm& next) override {
    observe(product("fused_linear_add", h.h, x, w), [&] { inner_.fused_linear_add(h, x, w, gate, next); });
  }
  void fused_qkv(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h, const Norm& norm,
                 const Linear& w, const Rope& rope) override {
    observe(product("fused_qkv", q, h.scaled, w), [&] { inner_.fused_qkv(q, cache, slots, h, norm, w, rope); });
  }
  void fused_gate_up(const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) override {
    observe(product("fused_gate_up", y, h.scaled, w), [&] { inner_.fused_gate_up(y, h, norm, w); });
  }
  void fused_silu(const Tensor& y, const Tensor& x, const Linear& w) override {
    observe(product("fused_silu", y, x, w), [&] { inner_.fused_silu(y, x, w); });
  }
  void fused_embed(const Residual& h, const Tensor& first, const Tensor& x, const Linear& w,
                   const Norm& next) override {
    observe(product("fused_embed", h.h, x, w), [&] { inner_.fused_embed(h, first, x, w, next); });
  }
  void fused_euler_step(const Tensor& x, const Residual& h, const Norm& norm, const Linear& w, float dt) override {
    observe(product("fused_euler_step", x, h.scaled, w), [&] { inner_.fused_euler_step(x, h, norm, w, dt); });
  }

 private:
  template <typename Body>
  void observe(const OpEvent& event, Body&& body) {
    observer_.before(event);
    body();
    observer_.after(event);
  }

  Kernels& inner_;
  KernelObserver& observer_;
};

}  // namespace nervus
