#include "backends/observed_kernels.h"

namespace nervus {
namespace {

template <typename Body>
void observe(KernelObserver& observer, const OpEvent& event, Body&& body) {
  observer.before(event);
  body();
  observer.after(event);
}

OpEvent elementwise(const char* op, const Tensor& y, const Tensor& x) {
  return {.op = op,
          .rows = y.rows,
          .inputs = x.columns,
          .outputs = y.columns,
          .bytes = static_cast<double>(x.bytes() + y.bytes()),
          .input = x,
          .result = y};
}

OpEvent product(const char* op, const Tensor& y, const Tensor& x, const Linear& w) {
  const double weights = static_cast<double>(w.inputs) * static_cast<double>(w.outputs);
  const double weight_bytes = weights * static_cast<double>(size_of(w.input.dtype));
  return {.op = op,
          .name = w.name,
          .rows = x.rows,
          .inputs = w.inputs,
          .outputs = w.outputs,
          .flops = 2.0 * static_cast<double>(x.rows) * weights,
          .weight_bytes = weight_bytes,
          .bytes = weight_bytes + static_cast<double>(x.bytes() + y.bytes()),
          .input = x,
          .result = y};
}

}  // namespace

void ObservedKernels::linear(const Tensor& y, const Tensor& x, const Linear& w) {
  observe(observer_, product("linear", y, x, w), [&] { inner_.linear(y, x, w); });
}

void ObservedKernels::linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) {
  observe(observer_, product("linear_add", h, x, w), [&] { inner_.linear_add(h, x, w, gate); });
}

void ObservedKernels::rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) {
  observe(observer_, elementwise("rms_norm", y, h), [&] { inner_.rms_norm(y, h, norm); });
}

void ObservedKernels::split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv,
                                 const Heads& heads, const Rope& rope) {
  observe(observer_, elementwise("split_rope", q, qkv), [&] { inner_.split_rope(q, cache, slots, qkv, heads, rope); });
}

void ObservedKernels::attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges,
                                const Heads& heads) {
  observe(observer_, elementwise("attention", y, q), [&] { inner_.attention(y, q, cache, ranges, heads); });
}

void ObservedKernels::swiglu(const Tensor& y, const Tensor& x) {
  observe(observer_, elementwise("swiglu", y, x), [&] { inner_.swiglu(y, x); });
}

void ObservedKernels::silu(const Tensor& y, const Tensor& x) {
  observe(observer_, elementwise("silu", y, x), [&] { inner_.silu(y, x); });
}

void ObservedKernels::gelu(const Tensor& y, const Tensor& x) {
  observe(observer_, elementwise("gelu", y, x), [&] { inner_.gelu(y, x); });
}

void ObservedKernels::gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) {
  observe(observer_, elementwise("gather_rows", y, x), [&] { inner_.gather_rows(y, x, index); });
}

void ObservedKernels::euler_step(const Tensor& x, const Tensor& v, float dt) {
  observe(observer_, elementwise("euler_step", x, v), [&] { inner_.euler_step(x, v, dt); });
}

void ObservedKernels::start_residual(const Residual& h, const Norm& next) {
  observe(observer_, elementwise("start_residual", h.scaled, h.h), [&] { inner_.start_residual(h, next); });
}

void ObservedKernels::fused_linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                                       const Norm& next) {
  observe(observer_, product("fused_linear_add", h.h, x, w), [&] { inner_.fused_linear_add(h, x, w, gate, next); });
}

void ObservedKernels::fused_qkv(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h,
                                const Norm& norm, const Linear& w, const Rope& rope) {
  observe(observer_, product("fused_qkv", q, h.scaled, w),
          [&] { inner_.fused_qkv(q, cache, slots, h, norm, w, rope); });
}

void ObservedKernels::fused_gate_up(const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) {
  observe(observer_, product("fused_gate_up", y, h.scaled, w), [&] { inner_.fused_gate_up(y, h, norm, w); });
}

}  // namespace nervus
