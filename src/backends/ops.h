// Ops: what a model's forward pass is written in. Each method checks shapes, takes its result from the
// workspace and calls the kernel of the same name (kernels.h has the formulas).
#pragma once

#include "backends/kernels.h"
#include "core/workspace.h"

namespace nervus {

class Ops {
 public:
  // `activation` is the type of what passes between ops where no linear asks otherwise.
  Ops(Kernels& kernels, Workspace& workspace, DType activation)
      : kernels_(&kernels), workspace_(workspace), activation_(activation) {}

  Workspace::Scope scope() { return workspace_.scope(); }
  Workspace& workspace() { return workspace_; }
  DType activation() const { return activation_; }
  // Computes with other kernels from now on: those of a device, or a decorator around them.
  void use(Kernels& kernels) { kernels_ = &kernels; }
  Tensor allocate(DType dtype, std::int64_t rows, std::int64_t columns) {
    return workspace_.allocate(dtype, rows, columns);
  }
  Tensor allocate(const Encoding& encoding, std::int64_t rows, std::int64_t columns) {
    constexpr std::int64_t tile = Tensor::tile_rows;
    Tensor x = workspace_.allocate(encoding.dtype, encoding.tiled ? (rows + tile - 1) / tile * tile : rows, columns);
    x.rows = rows;
    x.scale = encoding.scale;
    x.tiled = encoding.tiled;
    if (encoding.dtype == DType::i8) x.row_scales = static_cast<float*>(allocate(DType::f32, 1, rows).data);
    return x;
  }

  Tensor linear(const Tensor& x, const Linear& w);  // [T, K] -> [T, N]
  void linear_into(const Tensor& y, const Tensor& x, const Linear& w);
  // An uninitialised residual stream that `reader` reads through a norm. Whoever has filled h calls start_residual.
  Residual residual(std::int64_t rows, const Linear& reader);
  void start_residual(const Residual& h, const Norm& next);
  // h += gate * (x W^T + b); `next` is the norm that reads h next.
  void linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate, const Norm& next);
  Tensor rms_norm(const Tensor& h, const Norm& norm, const Encoding& encoding);
  // split_rope(linear(rms_norm(h))): returns q [T, H d] and stores keys and values in the cache.
  Tensor qkv(const Residual& h, const Norm& norm, const Linear& w, const Rope& rope, const KeyValues& cache,
             const Tensor& slots);
  // swiglu(linear(rms_norm(h))) -> [T, F]
  Tensor gate_up(const Residual& h, const Norm& norm, const Linear& w, const Encoding& encoding);
  // silu(linear(x)) for a stream of `rows` rows, of which x are the last; what becomes of the others only `embed`
  // knows.
  Tensor silu_linear(const Tensor& x, const Linear& w, std::int64_t rows, const Encoding& encoding);
  // Fills a residual stream that a norm `next` reads: rows `first`, then linear(x), x as from silu_linear.
  void embed(const Residual& h, const Tensor& first, const Tensor& x, const Linear& w, const Norm& next);
  // Returns q [T, H d] and stores keys and values in the cache.
  Tensor split_rope(const Tensor& qkv, const Heads& heads, const Rope& rope, const KeyValues& cache,
                    const Tensor& slots);
  Tensor attention(const Tensor& q, const KeyValues& cache, const Visible& visible, const Heads& heads,
                   const Encoding& encoding);
  Tensor swiglu(const Tensor& x, const Encoding& encoding);  // [T, 2 F] -> [T, F]
  Tensor silu(const Tensor& x, const Encoding& encoding) { return map(&Kernels::silu, x, x.columns, encoding); }
  Tensor gelu(const Tensor& x, const Encoding& encoding) { return map(&Kernels::gelu, x, x.columns, encoding); }
  Tensor gather_rows(const Tensor& x, const Tensor& index, const Encoding& encoding);
  void gather_rows_into(const Tensor& y, const Tensor& x, const Tensor& index);
  Tensor encode(const Tensor& x, const Encoding& encoding);  // the same rows in another format
  Tensor copy(const Tensor& x);                              // the same rows again
  void copy_into(const Tensor& y, const Tensor& x);
  void cut_patches_into(const Tensor& y, const Tensor& pixels, const Tensor& levels, const PatchGeometry& geometry);
  void euler_step(const Tensor& x, const Tensor& v, float dt);
  // The same with v = linear(rms_norm(h)) of the last rows of h.
  void euler_step(const Tensor& x, const Residual& h, const Norm& norm, const Linear& w, float dt);

 private:
  // The stream as the reader of a norm wants it.
  static Residual read_by(const Norm& norm, const Residual& h);
  // How a kernel writes what is to have `encoding`: an i8 row needs its largest |x| first, which only the kernels of
  // rms_norm and gather_rows know before they write.
  Encoding written(const Encoding& encoding) const {
    return encoding.dtype == DType::i8 ? Encoding{activation_} : encoding;
  }
  // What an elementwise kernel makes of x: [x.rows, columns].
  Tensor map(void (Kernels::*kernel)(const Tensor&, const Tensor&), const Tensor& x, std::int64_t columns,
             const Encoding& encoding);

  Kernels* kernels_;
  Workspace& workspace_;
  DType activation_;
};

}  // namespace nervus
