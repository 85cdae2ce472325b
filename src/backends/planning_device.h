// PlanningDevice: a device without memory or arithmetic. A model loaded on it has every shape and no number, which is
// how the workspace is measured and how a checkpoint is inspected without reading its weights.
#pragma once

#include "backends/device.h"

namespace nervus {

// Kernels that do nothing.
class NoKernels : public Kernels {
 public:
  void linear(const Tensor&, const Tensor&, const Linear&) override {}
  void linear_add(const Tensor&, const Tensor&, const Linear&, const Tensor&) override {}
  void rms_norm(const Tensor&, const Tensor&, const Norm&) override {}
  void split_rope(const Tensor&, const KeyValues&, const Tensor&, const Tensor&, const Heads&, const Rope&) override {}
  void attention(const Tensor&, const Tensor&, const KeyValues&, const Visible&, const Heads&) override {}
  void swiglu(const Tensor&, const Tensor&) override {}
  void silu(const Tensor&, const Tensor&) override {}
  void gelu(const Tensor&, const Tensor&) override {}
  void gather_rows(const Tensor&, const Tensor&, const Tensor&) override {}
  void cut_patches(const Tensor&, const Tensor&, const Tensor&, const PatchGeometry&) override {}
  void euler_step(const Tensor&, const Tensor&, float) override {}
  void start_residual(const Residual&, const Norm&) override {}
  void fused_linear_add(const Residual&, const Tensor&, const Linear&, const Tensor&, const Norm&) override {}
  void fused_qkv(const Tensor&, const KeyValues&, const Tensor&, const Residual&, const Norm&, const Linear&,
                 const Rope&) override {}
  void fused_gate_up(const Tensor&, const Residual&, const Norm&, const Linear&) override {}
  void fused_silu(const Tensor&, const Tensor&, const Linear&) override {}
  void fused_embed(const Residual&, const Tensor&, const Tensor&, const Linear&, const Norm&) override {}
  void fused_euler_step(const Tensor&, const Residual&, const Norm&, const Linear&, float) override {}
};

class PlanningDevice : public Device {
 public:
  explicit PlanningDevice(Precision precision);

  std::string description() const override { return "planning"; }
  Kernels& kernels() override { return kernels_; }
  DType activation() const override { return activation_; }
  bool multiplies(DType) const override { return true; }
  Linear make_linear(const LinearSource& source) override;
  // An address that must not be read.
  void* allocate(std::int64_t bytes) override;
  void upload(const Tensor&, const void*) override {}
  void download(void*, const Tensor&) override {}
  std::int64_t memory() const override { return memory_; }
  // Name and format of every linear that was made.
  const std::vector<std::pair<std::string, DType>>& linears() const { return linears_; }

 private:
  NoKernels kernels_;
  DType activation_;
  std::int64_t memory_ = 0;
  std::vector<std::pair<std::string, DType>> linears_;
};

}  // namespace nervus
