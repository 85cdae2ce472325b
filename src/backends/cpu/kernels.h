// The CPU's kernels: linears by Linears, the rest by a table of vector kernels.
#pragma once

#include "backends/cpu/linears.h"
#include "backends/cpu/vector_kernels.h"

namespace nervus {

// One caller at a time.
class CpuKernels final : public Kernels {
 public:
  // Linears by oneDNN (`library`) or by the table.
  CpuKernels(const VectorKernels& table, bool library, int threads)
      : linears_(threads, library ? nullptr : &table), table_(table), threads_(threads) {}

  Linears& linears() { return linears_; }

  void linear(const Tensor& y, const Tensor& x, const Linear& w) override { linears_.run(y, x, w, {}, false); }
  void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) override {
    linears_.run(h, x, w, gate, true);
  }
  void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) override { table_.rms_norm(y, h, norm, threads_); }
  void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                  const Rope& rope) override {
    table_.split_rope(q, cache, slots, qkv, heads, rope, threads_);
  }
  void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges,
                 const Heads& heads) override;
  void swiglu(const Tensor& y, const Tensor& x) override { table_.swiglu(y, x, threads_); }
  void silu(const Tensor& y, const Tensor& x) override { table_.silu(y, x, threads_); }
  void gelu(const Tensor& y, const Tensor& x) override { table_.gelu(y, x, threads_); }
  void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) override {
    table_.gather_rows(y, x, index, threads_);
  }
  void euler_step(const Tensor& x, const Tensor& v, float dt) override { table_.euler_step(x, v, dt, threads_); }

 private:
  Linears linears_;
  const VectorKernels& table_;
  int threads_;
  Memory scratch_;  // attention's
  std::int64_t scratch_bytes_ = 0;
};

}  // namespace nervus
