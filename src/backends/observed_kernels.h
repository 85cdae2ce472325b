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
};

class KernelObserver {
 public:
  virtual ~KernelObserver() = default;
  virtual void before(const OpEvent& event) = 0;
  virtual void after(const OpEvent& event) = 0;
};

class ObservedKernels : public Kernels {
 public:
  ObservedKernels(Kernels& inner, KernelObserver& observer) : inner_(inner), observer_(observer) {}

  void linear(const Tensor& y, const Tensor& x, const Linear& w) override;
  void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) override;
  void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) override;
  void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                  const Rope& rope) override;
  void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges,
                 const Heads& heads) override;
  void swiglu(const Tensor& y, const Tensor& x) override;
  void silu(const Tensor& y, const Tensor& x) override;
  void gelu(const Tensor& y, const Tensor& x) override;
  void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) override;
  void euler_step(const Tensor& x, const Tensor& v, float dt) override;
  void start_residual(const Residual& h, const Norm& next) override;
  void fused_linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                        const Norm& next) override;
  void fused_qkv(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h, const Norm& norm,
                 const Linear& w, const Rope& rope) override;
  void fused_gate_up(const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) override;

 private:
  Kernels& inner_;
  KernelObserver& observer_;
};

}  // namespace nervus
