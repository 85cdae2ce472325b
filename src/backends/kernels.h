// Kernels: the menu of arithmetic that a backend cooks. Each method has one kernel file a backend, one
// scalar reference in tests/reference, one test and one benchmark row, all under one name. Shapes were
// checked and results allocated by Ops (ops.h), which is what models call. Decorators wrap this class.
//
// T rows (tokens), D width, H query heads, G key/value heads (H = g G; query head h reads key head h / g),
// d head size. Residual streams `h` are float32; "act" is the device's activation type.
#pragma once

#include "backends/linear.h"
#include "core/patches.h"
#include "core/tensor.h"

namespace nervus {

// RMS normalisation constants: y = scale * x / sqrt(mean(x^2) + 1e-6) + shift. Both f32 [1, D]; shift may be empty.
struct Norm {
  Tensor scale;
  Tensor shift;
  // Of the one fused linear that reads it (Device::fold), otherwise empty: f32 [1, N], b + W shift; and how it reads
  // the stream.
  Tensor folded;
  Encoding stream;
};

// A residual stream: the sum that blocks add to. Where fused linears read it, `scaled` and `squares` follow `h`, so
// that a norm is no pass of its own: the product is computed on h * scale, and its result divided by the row's norm.
// A linear that is wide alone gets the norm itself as `scaled`, and no squares.
struct Residual {
  Tensor h;  // f32 [T, D]
  // act [T, D], or within the same memory e4m3: h times the scale of the norm that reads next, as the linear behind it
  // wants that (Norm::stream).
  Tensor scaled;
  Tensor squares;  // f32 [T, D / square_part]: sums of h^2 over each square_part columns

  static constexpr std::int64_t square_part = 32;
};

// Rotary embedding: row r is rotated by the angles of table row positions[r].
struct Rope {
  Tensor cosine;     // f32 [positions, d / 2]
  Tensor sine;       // f32 [positions, d / 2]
  Tensor positions;  // i32 [1, T]
};

// Keys (rotated) and values, act [slots, G d]. A slot is a row of both.
struct KeyValues {
  Tensor keys;
  Tensor values;
};

// The slots that each row sees: [ranges[r][0], ranges[r][1]) and [ranges[r][2], ranges[r][3]), which do not overlap.
struct Visible {
  Visible(Tensor seen, bool first_is_settled = false, Tensor rows_by_tile = {})
      : ranges(seen), settled(first_is_settled), order(rows_by_tile) {}

  Tensor ranges;         // i32 [T, 4]
  bool settled = false;  // what a row's first range names was written in an earlier stage
  // i32 [1, n tile]: every row once, so that those of a tile see much the same; -1 in what tiles have left. Empty: the
  // rows as they come. Speeds kernels up, and changes no value.
  Tensor order;

  static constexpr std::int64_t tile = 64;
  // Of rows that fill tiles of their own.
  static constexpr std::int64_t places(std::int64_t rows) { return (rows + tile - 1) / tile * tile; }
};

class Kernels {
 public:
  virtual ~Kernels() = default;

  // y [T, N] = x [T, K] W^T + b
  virtual void linear(const Tensor& y, const Tensor& x, const Linear& w) = 0;

  // h [T, N] += gate * (x [T, K] W^T + b); gate f32 [1, N], or empty for 1
  virtual void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) = 0;

  // y [T, D] = norm(h [T, D] f32), computed in float32
  virtual void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) = 0;

  // qkv act [T, (H + 2 G) d] -> q act [T, H d] rotated; keys (rotated) and values stored at cache rows slots[r].
  // rotate(x1, x2) = (x1 cos - x2 sin, x2 cos + x1 sin) over the halves of a head. slots i32 [1, T].
  virtual void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv,
                          const Heads& heads, const Rope& rope) = 0;

  // y [T, H d] = softmax(q k^T / sqrt(d)) v in float32, over the slots that a row sees. One that sees none gets zeros.
  virtual void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Visible& visible,
                         const Heads& heads) = 0;

  // y [T, F] = silu(x[:, :F]) * x[:, F:], x act [T, 2 F]
  virtual void swiglu(const Tensor& y, const Tensor& x) = 0;

  // y [T, D] = x * sigmoid(x)
  virtual void silu(const Tensor& y, const Tensor& x) = 0;

  // y [T, D] = x * Phi(x), the exact (erf) GELU
  virtual void gelu(const Tensor& y, const Tensor& x) = 0;

  // y [T, D] = x[index[r]], converted to y's type (in i8 with the scale of each row); index i32 [1, T], or empty for r
  // itself. A row whose index is negative stays as it is.
  virtual void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) = 0;

  // y [V P, values of a patch] = the patches of `pixels`, u8 [V, 3 S S]: square RGB images, row by row. Their levels
  // become those of `levels` f32 [3, 256] (core/patches.h).
  virtual void cut_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels,
                           const PatchGeometry& geometry) = 0;

  // x [T, D] f32 -= dt * v [T, D] f32
  virtual void euler_step(const Tensor& x, const Tensor& v, float dt) = 0;

  // The larger kernels, for linears that say `fused` (the last three for those that are not `wide`), and fused_qkv and
  // fused_gate_up for those that say `wide`; a backend that never makes such linears has none of them. Each is what Ops
  // computes with the methods above.

  // h.scaled and h.squares from h.h
  virtual void start_residual(const Residual& h, const Norm& next);
  // h.h += gate * (x W^T + b), then start_residual(h, next)
  virtual void fused_linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                                const Norm& next);
  // split_rope(norm(h) W^T + b)
  virtual void fused_qkv(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h,
                         const Norm& norm, const Linear& w, const Rope& rope);
  // y = swiglu(norm(h) W^T + b)
  virtual void fused_gate_up(const Tensor& y, const Residual& h, const Norm& norm, const Linear& w);
  // The last x.rows rows of y = silu(x W^T + b), those before them 0; x f32
  virtual void fused_silu(const Tensor& y, const Tensor& x, const Linear& w);
  // h.h = x W^T + b but for its first rows, which are `first` f32; then start_residual(h, next)
  virtual void fused_embed(const Residual& h, const Tensor& first, const Tensor& x, const Linear& w, const Norm& next);
  // x f32 -= dt (norm(h) W^T + b) of the last x.rows rows of h
  virtual void fused_euler_step(const Tensor& x, const Residual& h, const Norm& norm, const Linear& w, float dt);
};

}  // namespace nervus
