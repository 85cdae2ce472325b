#include "backends/ops.h"

#include "core/message.h"

namespace nervus {
namespace {

void check_shape(const Tensor& x, std::int64_t rows, std::int64_t columns, const char* what) {
  check(x.rows == rows && x.columns == columns,
        concat(what, ": expected [", rows, ", ", columns, "], found [", x.rows, ", ", x.columns, "]"));
}

void check_linear(const Tensor& y, const Tensor& x, const Linear& w) {
  check_shape(x, y.rows, w.inputs, w.name.c_str());
  check_shape(y, x.rows, w.outputs, w.name.c_str());
  check(x.dtype == w.input.dtype, "linear: x has the format that " + w.name + " asks for");
}

void check_cache(const KeyValues& cache, const Heads& heads, DType dtype) {
  check(heads.key_value > 0 && heads.query % heads.key_value == 0, "query heads are a multiple of key heads");
  check_shape(cache.values, cache.keys.rows, heads.key_value * heads.size, "values");
  check_shape(cache.keys, cache.values.rows, heads.key_value * heads.size, "keys");
  check(cache.keys.dtype == dtype && cache.values.dtype == dtype, "the cache has the activation type");
}

}  // namespace

Tensor Ops::linear(const Tensor& x, const Linear& w) {
  const Tensor y = allocate(w.output, x.rows, w.outputs);
  linear_into(y, x, w);
  return y;
}

void Ops::linear_into(const Tensor& y, const Tensor& x, const Linear& w) {
  check_linear(y, x, w);
  check(y.dtype == w.output, "linear: y has the type that " + w.name + " writes");
  if (x.rows > 0) kernels_->linear(y, x, w);
}

void Ops::linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) {
  check_linear(h, x, w);
  check(h.dtype == DType::f32, "linear_add: the residual stream is f32");
  if (gate) check_shape(gate, 1, w.outputs, "gate");
  if (x.rows > 0) kernels_->linear_add(h, x, w, gate);
}

Tensor Ops::rms_norm(const Tensor& h, const Norm& norm, const Encoding& encoding) {
  check(h.dtype == DType::f32, "rms_norm: the residual stream is f32");
  check_shape(norm.scale, 1, h.columns, "norm scale");
  if (norm.shift) check_shape(norm.shift, 1, h.columns, "norm shift");
  const Tensor y = allocate(encoding.dtype, h.rows, h.columns);
  if (h.rows > 0) kernels_->rms_norm(y, h, norm);
  return y;
}

Tensor Ops::split_rope(const Tensor& qkv, const Heads& heads, const Rope& rope, const KeyValues& cache,
                       const Tensor& slots) {
  check_cache(cache, heads, activation_);
  check_shape(qkv, qkv.rows, (heads.query + 2 * heads.key_value) * heads.size, "qkv");
  check(qkv.dtype == activation_, "split_rope: qkv has the activation type");
  check_shape(rope.positions, 1, qkv.rows, "positions");
  check_shape(slots, 1, qkv.rows, "slots");
  check_shape(rope.cosine, rope.sine.rows, heads.size / 2, "cosine");
  check_shape(rope.sine, rope.cosine.rows, heads.size / 2, "sine");
  const Tensor q = allocate(activation_, qkv.rows, heads.query * heads.size);
  if (qkv.rows > 0) kernels_->split_rope(q, cache, slots, qkv, heads, rope);
  return q;
}

Tensor Ops::attention(const Tensor& q, const KeyValues& cache, const Tensor& ranges, const Heads& heads,
                      const Encoding& encoding) {
  check_cache(cache, heads, activation_);
  check_shape(q, q.rows, heads.query * heads.size, "q");
  check(q.dtype == activation_, "attention: q has the activation type");
  check_shape(ranges, q.rows, 4, "ranges");
  const Tensor y = allocate(encoding.dtype, q.rows, q.columns);
  if (q.rows > 0) kernels_->attention(y, q, cache, ranges, heads);
  return y;
}

Tensor Ops::swiglu(const Tensor& x, const Encoding& encoding) {
  check(x.columns % 2 == 0, "swiglu: gate and up side by side");
  return map(&Kernels::swiglu, x, x.columns / 2, encoding);
}

Tensor Ops::map(void (Kernels::*kernel)(const Tensor&, const Tensor&), const Tensor& x, std::int64_t columns,
                const Encoding& encoding) {
  const Tensor y = allocate(encoding.dtype, x.rows, columns);
  if (x.rows > 0) (kernels_->*kernel)(y, x);
  return y;
}

Tensor Ops::gather_rows(const Tensor& x, const Tensor& index, const Encoding& encoding) {
  const Tensor y = allocate(encoding.dtype, index.columns, x.columns);
  gather_rows_into(y, x, index);
  return y;
}

void Ops::gather_rows_into(const Tensor& y, const Tensor& x, const Tensor& index) {
  check_shape(index, 1, y.rows, "index");
  check(y.columns == x.columns, "gather_rows: equal widths");
  if (y.rows > 0) kernels_->gather_rows(y, x, index);
}

Tensor Ops::encode(const Tensor& x, const Encoding& encoding) {
  if (x.dtype == encoding.dtype) return x;
  const Tensor y = allocate(encoding.dtype, x.rows, x.columns);
  copy_into(y, x);
  return y;
}

Tensor Ops::copy(const Tensor& x) {
  const Tensor y = allocate(x.dtype, x.rows, x.columns);
  copy_into(y, x);
  return y;
}

void Ops::copy_into(const Tensor& y, const Tensor& x) {
  check_shape(y, x.rows, x.columns, "copy");
  if (x.rows > 0) kernels_->gather_rows(y, x, {});
}

void Ops::euler_step(const Tensor& x, const Tensor& v, float dt) {
  check_shape(v, x.rows, x.columns, "velocity");
  check(x.dtype == DType::f32 && v.dtype == DType::f32, "euler_step: x and v are f32");
  if (x.rows > 0) kernels_->euler_step(x, v, dt);
}

}  // namespace nervus
