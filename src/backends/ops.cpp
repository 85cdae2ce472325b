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
  check(encoding_of(x) == w.input, "linear: x has the format that " + w.name + " asks for");
}

void check_norm(const Norm& norm, const Tensor& h) {
  check(h.dtype == DType::f32, "the residual stream is f32");
  check_shape(norm.scale, 1, h.columns, "norm scale");
  if (norm.shift) check_shape(norm.shift, 1, h.columns, "norm shift");
}

// A call of split_rope, or of what ends in it.
void check_rope(const Rope& rope, const Tensor& slots, const Heads& heads, std::int64_t rows) {
  check_shape(rope.positions, 1, rows, "positions");
  check_shape(slots, 1, rows, "slots");
  check_shape(rope.cosine, rope.sine.rows, heads.size / 2, "cosine");
  check_shape(rope.sine, rope.cosine.rows, heads.size / 2, "sine");
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

Residual Ops::residual(std::int64_t rows, const Linear& reader) {
  Residual h{.h = allocate(DType::f32, rows, reader.inputs)};
  if (!reader.fused) return h;
  h.scaled = allocate(Encoding{.dtype = activation_, .tiled = reader.input.tiled}, rows, reader.inputs);
  h.squares = allocate(DType::f32, rows, (reader.inputs + Residual::square_part - 1) / Residual::square_part);
  return h;
}

Residual Ops::read_by(const Norm& norm, const Residual& h) {
  Residual stream = h;
  if (h.scaled && norm.folded) stream.scaled.dtype = norm.stream.dtype, stream.scaled.scale = norm.stream.scale;
  return stream;
}

void Ops::start_residual(const Residual& h, const Norm& next) {
  check_norm(next, h.h);
  if (h.scaled && h.h.rows > 0) kernels_->start_residual(read_by(next, h), next);
}

void Ops::linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate, const Norm& next) {
  check_linear(h.h, x, w);
  check_norm(next, h.h);
  check(w.fused == static_cast<bool>(h.scaled),
        "linear_add: the linears around a residual stream are fused, or none is");
  if (gate) check_shape(gate, 1, w.outputs, "gate");
  if (x.rows == 0) return;
  if (w.fused) kernels_->fused_linear_add(read_by(next, h), x, w, gate, next);
  else kernels_->linear_add(h.h, x, w, gate);
}

Tensor Ops::rms_norm(const Tensor& h, const Norm& norm, const Encoding& encoding) {
  check_norm(norm, h);
  const Tensor y = allocate(encoding, h.rows, h.columns);
  if (h.rows > 0) kernels_->rms_norm(y, h, norm);
  return y;
}

Tensor Ops::split_rope(const Tensor& qkv, const Heads& heads, const Rope& rope, const KeyValues& cache,
                       const Tensor& slots) {
  check_cache(cache, heads, activation_);
  check_shape(qkv, qkv.rows, (heads.query + 2 * heads.key_value) * heads.size, "qkv");
  check(qkv.dtype == activation_, "split_rope: qkv has the activation type");
  check_rope(rope, slots, heads, qkv.rows);
  const Tensor q = allocate(activation_, qkv.rows, heads.query * heads.size);
  if (qkv.rows > 0) kernels_->split_rope(q, cache, slots, qkv, heads, rope);
  return q;
}

Tensor Ops::qkv(const Residual& h, const Norm& norm, const Linear& w, const Rope& rope, const KeyValues& cache,
                const Tensor& slots) {
  const Tensor x = w.fused ? read_by(norm, h).scaled : rms_norm(h.h, norm, w.input);
  if (!w.fused && !w.wide) return split_rope(linear(x, w), w.heads, rope, cache, slots);
  check_cache(cache, w.heads, activation_);
  check_rope(rope, slots, w.heads, h.h.rows);
  const Encoding queries{.dtype = activation_, .tiled = w.input.tiled};
  const Tensor q = allocate(queries, h.h.rows, w.heads.query * w.heads.size);
  if (q.rows > 0) kernels_->fused_qkv(q, cache, slots, {h.h, x, h.squares}, norm, w, rope);
  return q;
}

Tensor Ops::gate_up(const Residual& h, const Norm& norm, const Linear& w, const Encoding& encoding) {
  const Tensor x = w.fused ? read_by(norm, h).scaled : rms_norm(h.h, norm, w.input);
  if (!w.fused && !w.wide) return swiglu(linear(x, w), encoding);
  const Tensor y = allocate(written(encoding), h.h.rows, w.outputs / 2);
  if (y.rows > 0) kernels_->fused_gate_up(y, {h.h, x, h.squares}, norm, w);
  return encode(y, encoding);
}

Tensor Ops::silu_linear(const Tensor& x, const Linear& w, std::int64_t rows, const Encoding& encoding) {
  if (!w.fused) return silu(linear(encode(x, w.input), w), encoding);
  check(x.rows <= rows && x.columns == w.inputs && encoding_of(x) == w.input, "silu_linear: rows of " + w.name);
  const Tensor y = allocate(Encoding{.dtype = activation_, .tiled = encoding.tiled}, rows, w.outputs);
  if (rows > 0) kernels_->fused_silu(y, x, w);
  return encode(y, encoding);
}

void Ops::embed(const Residual& h, const Tensor& first, const Tensor& x, const Linear& w, const Norm& next) {
  if (!w.fused) {
    const std::int64_t others = h.h.rows - first.rows;
    copy_into(h.h.slice(0, first.rows), first);
    linear_into(h.h.slice(first.rows, others), x.slice(x.rows - others, others), w);
    return start_residual(h, next);
  }
  check_linear(h.h, x, w);
  check_norm(next, h.h);
  check(first.rows <= x.rows && first.columns == h.h.columns && first.dtype == DType::f32, "embed: first rows of h");
  if (x.rows > 0) kernels_->fused_embed(read_by(next, h), first, x, w, next);
}

Tensor Ops::attention(const Tensor& q, const KeyValues& cache, const Visible& visible, const Heads& heads,
                      const Encoding& encoding) {
  check_cache(cache, heads, activation_);
  check_shape(q, q.rows, heads.query * heads.size, "q");
  check(q.dtype == activation_, "attention: q has the activation type");
  check_shape(visible.ranges, q.rows, 4, "ranges");
  check(visible.order.columns % Visible::tile == 0, "attention: an order of whole tiles");
  const Tensor y = allocate(written(encoding), q.rows, q.columns);
  if (q.rows > 0) kernels_->attention(y, q, cache, visible, heads);
  return encode(y, encoding);
}

Tensor Ops::swiglu(const Tensor& x, const Encoding& encoding) {
  check(x.columns % 2 == 0, "swiglu: gate and up side by side");
  return map(&Kernels::swiglu, x, x.columns / 2, encoding);
}

Tensor Ops::map(void (Kernels::*kernel)(const Tensor&, const Tensor&), const Tensor& x, std::int64_t columns,
                const Encoding& encoding) {
  const Tensor y = allocate(written(encoding), x.rows, columns);
  if (x.rows > 0) (kernels_->*kernel)(y, x);
  return encode(y, encoding);
}

Tensor Ops::gather_rows(const Tensor& x, const Tensor& index, const Encoding& encoding) {
  const Tensor y = allocate(encoding, index.columns, x.columns);
  gather_rows_into(y, x, index);
  return y;
}

void Ops::gather_rows_into(const Tensor& y, const Tensor& x, const Tensor& index) {
  check_shape(index, 1, y.rows, "index");
  check(y.columns == x.columns, "gather_rows: equal widths");
  if (y.rows > 0) kernels_->gather_rows(y, x, index);
}

Tensor Ops::encode(const Tensor& x, const Encoding& encoding) {
  if (encoding_of(x) == encoding) return x;
  const Tensor y = allocate(encoding, x.rows, x.columns);
  copy_into(y, x);
  return y;
}

Tensor Ops::copy(const Tensor& x) {
  const Tensor y = allocate(encoding_of(x), x.rows, x.columns);
  copy_into(y, x);
  return y;
}

void Ops::copy_into(const Tensor& y, const Tensor& x) {
  check_shape(y, x.rows, x.columns, "copy");
  if (x.rows > 0) kernels_->gather_rows(y, x, {});
}

void Ops::cut_patches_into(const Tensor& y, const Tensor& pixels, const Tensor& levels, const PatchGeometry& geometry) {
  check_shape(levels, 3, 256, "levels");
  check(pixels.dtype == DType::u8 && y.columns == geometry.values(), "cut_patches: bytes to whole patches");
  check(y.count() == pixels.count() * geometry.temporal, "cut_patches: all pixels, as often as a patch has frames");
  if (y.rows > 0) kernels_->cut_patches(y, pixels, levels, geometry);
}

void Ops::euler_step(const Tensor& x, const Tensor& v, float dt) {
  check_shape(v, x.rows, x.columns, "velocity");
  check(x.dtype == DType::f32 && v.dtype == DType::f32, "euler_step: x and v are f32");
  if (x.rows > 0) kernels_->euler_step(x, v, dt);
}

void Ops::euler_step(const Tensor& x, const Residual& h, const Norm& norm, const Linear& w, float dt) {
  if (!w.fused) {
    const auto scope = workspace_.scope();
    return euler_step(x, linear(rms_norm(h.h.slice(h.h.rows - x.rows, x.rows), norm, w.input), w), dt);
  }
  check_norm(norm, h.h);
  check(x.rows <= h.h.rows && x.columns == w.outputs && w.inputs == h.h.columns, "euler_step: rows of " + w.name);
  if (x.rows > 0) kernels_->fused_euler_step(x, read_by(norm, h), norm, w, dt);
}

}  // namespace nervus
