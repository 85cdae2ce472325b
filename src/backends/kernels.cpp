#include "backends/kernels.h"

#include "core/check.h"

namespace nervus {
namespace {

[[noreturn]] void not_fused(const char* kernel) {
  fail(ErrorKind::internal, std::string(kernel) + ": this backend makes no fused linears");
}

}  // namespace

void Kernels::start_residual(const Residual&, const Norm&) { not_fused("start_residual"); }

void Kernels::fused_linear_add(const Residual&, const Tensor&, const Linear&, const Tensor&, const Norm&) {
  not_fused("fused_linear_add");
}

void Kernels::fused_qkv(const Tensor&, const KeyValues&, const Tensor&, const Residual&, const Norm&, const Linear&,
                        const Rope&) {
  not_fused("fused_qkv");
}

void Kernels::fused_gate_up(const Tensor&, const Residual&, const Norm&, const Linear&) { not_fused("fused_gate_up"); }

void Kernels::fused_silu(const Tensor&, const Tensor&, const Linear&) { not_fused("fused_silu"); }

void Kernels::fused_embed(const Residual&, const Tensor&, const Tensor&, const Linear&, const Norm&) {
  not_fused("fused_embed");
}

void Kernels::fused_euler_step(const Tensor&, const Residual&, const Norm&, const Linear&, float) {
  not_fused("fused_euler_step");
}

}  // namespace nervus
