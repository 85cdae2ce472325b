// The CPU's own kernels for one instruction set, NERVUS_TARGET. Everything here has internal linkage except the
// table: the file is compiled several times, and a function shared with other files could end up in the program in
// an instruction set that the processor lacks. For the same reason it calls no inline function of other headers.
#include "backends/cpu/vector_kernels.h"

#include "backends/cpu/attention.h"
#include "backends/cpu/product.h"
#include "backends/cpu/simd.h"

namespace nervus::NERVUS_TARGET {
namespace {

// Below this many elements a second thread costs more than it brings.
constexpr std::int64_t parallel_elements = 16384;

// body(r) for every row, divided among threads.
template <typename Body>
void for_rows(std::int64_t rows, std::int64_t columns, int threads, const Body& body) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * columns >= parallel_elements)
  for (std::int64_t r = 0; r < rows; ++r) body(r);
}

// body(y row, x row, r) with the rows as float or bfloat16.
template <typename Y, typename X, typename Body>
void for_typed_rows(const Tensor& y, const Tensor& x, int threads, const Body& body) {
  for_rows(y.rows, x.columns, threads, [&](std::int64_t r) {
    body(static_cast<Y*>(y.data) + r * y.columns, static_cast<const X*>(x.data) + r * x.columns, r);
  });
}

template <typename Body>
void for_row_pairs(const Tensor& y, const Tensor& x, int threads, const Body& body) {
  const bool narrow_y = y.dtype == DType::bf16;
  const bool narrow_x = x.dtype == DType::bf16;
  if (narrow_y && narrow_x) for_typed_rows<Bits16, Bits16>(y, x, threads, body);
  else if (narrow_y) for_typed_rows<Bits16, float>(y, x, threads, body);
  else if (narrow_x) for_typed_rows<float, Bits16>(y, x, threads, body);
  else for_typed_rows<float, float>(y, x, threads, body);
}

// y = f(x) element by element.
template <typename Function>
void map(const Tensor& y, const Tensor& x, int threads, const Function& function) {
  for_row_pairs(y, x, threads, [&](auto* out, const auto* in, std::int64_t) {
    for (std::int64_t i = 0; i < y.columns; i += lanes) {
      store_at(out, function(load_at(in, i, y.columns)), i, y.columns);
    }
  });
}

Floats sigmoid_product(Floats x) { return x / (1.0f + exponential(-x)); }

void silu(const Tensor& y, const Tensor& x, int threads) { map(y, x, threads, sigmoid_product); }

void gelu(const Tensor& y, const Tensor& x, int threads) {
  map(y, x, threads, [](Floats v) {
    const Floats tail = upper_tail(v < 0.0f ? -v : v);
    return v * (v < 0.0f ? tail : 1.0f - tail);
  });
}

void swiglu(const Tensor& y, const Tensor& x, int threads) {
  for_row_pairs(y, x, threads, [&](auto* out, const auto* in, std::int64_t) {
    for (std::int64_t i = 0; i < y.columns; i += lanes) {
      const Floats gate = load_at(in, i, y.columns);
      const Floats up = load_at(in + y.columns, i, y.columns);
      store_at(out, sigmoid_product(gate) * up, i, y.columns);
    }
  });
}

void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index, int threads) {
  const auto* rows = static_cast<const std::int32_t*>(index.data);
  const std::int64_t width = x.columns;
  for_row_pairs(y, x, threads, [&](auto* out, const auto* in, std::int64_t r) {
    if (index.columns > 0) {
      if (rows[r] < 0) return;
      in += (rows[r] - r) * width;
    }
    for (std::int64_t i = 0; i < width; i += lanes) store_at(out, load_at(in, i, width), i, width);
  });
}

void euler_step(const Tensor& x, const Tensor& v, float dt, int threads) {
  for_typed_rows<float, float>(x, v, threads, [&](float* position, const float* velocity, std::int64_t) {
    for (std::int64_t i = 0; i < x.columns; i += lanes) {
      const Floats moved = load_at(position, i, x.columns) - dt * load_at(velocity, i, x.columns);
      store_at(position, moved, i, x.columns);
    }
  });
}

float sum_of_squares(const float* x, std::int64_t count) {
  Floats total[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    for (int k = 0; k < 4; ++k) {
      const Floats part = load(x + i + k * lanes);
      total[k] += part * part;
    }
  }
  for (; i < count; i += lanes) {
    const Floats part = load_at(x, i, count);
    total[0] += part * part;
  }
  return sum((total[0] + total[1]) + (total[2] + total[3]));
}

void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm, int threads) {
  const std::int64_t width = h.columns;
  const auto* scale = static_cast<const float*>(norm.scale.data);
  const auto* shift = static_cast<const float*>(norm.shift.data);
  const bool shifted = norm.shift.columns > 0;
  const auto row = [&](auto* out, const float* in, std::int64_t) {
    const float mean = sum_of_squares(in, width) / static_cast<float>(width);
    const float inverse = 1.0f / __builtin_sqrtf(mean + 1e-6f);
    for (std::int64_t i = 0; i < width; i += lanes) {
      const Floats normal = load_at(in, i, width) * inverse * load_at(scale, i, width);
      store_at(out, shifted ? normal + load_at(shift, i, width) : normal, i, width);
    }
  };
  if (y.dtype == DType::bf16) for_typed_rows<Bits16, float>(y, h, threads, row);
  else for_typed_rows<float, float>(y, h, threads, row);
}

// The halves x1, x2 of a head: (x1 cos - x2 sin, x2 cos + x1 sin).
template <typename T>
void rotate(T* out, const T* in, const float* cosine, const float* sine, std::int64_t half) {
  for (std::int64_t i = 0; i < half; i += lanes) {
    const Floats c = load_at(cosine, i, half);
    const Floats s = load_at(sine, i, half);
    const Floats x1 = load_at(in, i, half);
    const Floats x2 = load_at(in + half, i, half);
    store_at(out, x1 * c - x2 * s, i, half);
    store_at(out + half, x2 * c + x1 * s, i, half);
  }
}

template <typename T>
void split_rope_typed(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv,
                      const Heads& heads, const Rope& rope, int threads) {
  const std::int64_t d = heads.size;
  const std::int64_t key_width = heads.key_value * d;
  for_rows(qkv.rows, qkv.columns, threads, [&](std::int64_t r) {
    const std::int64_t angle = static_cast<const std::int32_t*>(rope.positions.data)[r] * (d / 2);
    const std::int64_t slot = static_cast<const std::int32_t*>(slots.data)[r];
    const float* cosine = static_cast<const float*>(rope.cosine.data) + angle;
    const float* sine = static_cast<const float*>(rope.sine.data) + angle;
    const T* in = static_cast<const T*>(qkv.data) + r * qkv.columns;
    T* queries = static_cast<T*>(q.data) + r * q.columns;
    T* keys = static_cast<T*>(cache.keys.data) + slot * key_width;
    T* values = static_cast<T*>(cache.values.data) + slot * key_width;
    for (std::int64_t k = 0; k < heads.query; ++k) rotate(queries + k * d, in + k * d, cosine, sine, d / 2);
    in += heads.query * d;
    for (std::int64_t k = 0; k < heads.key_value; ++k) rotate(keys + k * d, in + k * d, cosine, sine, d / 2);
    __builtin_memcpy(values, in + key_width, static_cast<std::size_t>(key_width) * sizeof(T));
  });
}

void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                const Rope& rope, int threads) {
  if (qkv.dtype == DType::bf16) split_rope_typed<Bits16>(q, cache, slots, qkv, heads, rope, threads);
  else split_rope_typed<float>(q, cache, slots, qkv, heads, rope, threads);
}

}  // namespace

extern const VectorKernels table;
const VectorKernels table{.name = NERVUS_TARGET_NAME,
                          .panel = panel,
                          .multiply = multiply,
                          .rms_norm = rms_norm,
                          .split_rope = split_rope,
                          .attention_scratch = attention_scratch,
                          .attention = attention,
                          .swiglu = swiglu,
                          .silu = silu,
                          .gelu = gelu,
                          .gather_rows = gather_rows,
                          .euler_step = euler_step};

}  // namespace nervus::NERVUS_TARGET
