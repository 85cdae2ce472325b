// The kernels of the reference device (kernels.h of backends has the formulas).
#pragma once

#include <vector>

#include "backends/kernels.h"

namespace nervus {

// What Linear::weight of the reference device points to: [outputs, inputs] row-major.
using ReferenceWeight = std::vector<float>;

class ReferenceKernels final : public Kernels {
 public:
  void linear(const Tensor& y, const Tensor& x, const Linear& w) override;
  void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) override;
  void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) override;
  void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                  const Rope& rope) override;
  void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Visible& visible,
                 const Heads& heads) override;
  void swiglu(const Tensor& y, const Tensor& x) override;
  void silu(const Tensor& y, const Tensor& x) override;
  void gelu(const Tensor& y, const Tensor& x) override;
  void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) override;
  void cut_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels, const PatchGeometry& geometry) override;
  void euler_step(const Tensor& x, const Tensor& v, float dt) override;
};

}  // namespace nervus
