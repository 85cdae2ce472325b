// Matrix products: by oneDNN, weights packed once and primitives made once for every shape that occurs, or by the table
// of vector kernels.
#pragma once

#include <memory>
#include <string>

#include "backends/cpu/memory.h"
#include "backends/cpu/vector_kernels.h"
#include "backends/linear.h"

namespace nervus {

class Linears {
 public:
  // With `table`, products are its own instead of oneDNN's.
  Linears(int threads, const VectorKernels* table);
  ~Linears();

  // "oneDNN 2.6.3"
  static std::string library();
  // Whether oneDNN has products of `dtype` for this processor that run at its speed and give a row the same bits for
  // any number of rows and threads: its batch-reduced ("brg") ones do, but not those of AMX.
  static bool supports(DType dtype);

  // Reads the [outputs, inputs] matrix of `source` as `dtype` and packs it; `bytes` grows by what it holds. The peak is
  // the matrix and its packed copy.
  std::shared_ptr<const void> pack(const LinearSource& source, DType dtype, std::int64_t& bytes);

  // y = x W^T + b, or if `add` y += gate * (x W^T + b), where gate may be empty.
  void run(const Tensor& y, const Tensor& x, const Linear& w, const Tensor& gate, bool add);

 private:
  class Primitives;
  template <typename T>
  void pack_panels(T* target, const LinearSource& source) const;

  int threads_;
  const VectorKernels* table_;
  std::unique_ptr<Primitives> primitives_;
  Scratch staging_;  // where matrices are read to, until the first product
};

}  // namespace nervus
