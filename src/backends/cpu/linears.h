// Matrix products by oneDNN: weights packed once, primitives made once for every shape that occurs.
#pragma once

#include <memory>
#include <string>

#include "backends/cpu/memory.h"
#include "backends/linear.h"

namespace nervus {

class Linears {
 public:
  explicit Linears(int threads);
  ~Linears();

  // "oneDNN 2.6.3"
  static std::string library();
  // Whether this processor multiplies matrices of `dtype` at full speed.
  static bool supports(DType dtype);

  // Reads the [outputs, inputs] matrix of `source` as `dtype` and packs it; `bytes` grows by what it holds. The peak is
  // the matrix and its packed copy.
  std::shared_ptr<const void> pack(const LinearSource& source, DType dtype, std::int64_t& bytes);

  // y = x W^T + b
  void multiply(const Tensor& y, const Tensor& x, const Linear& w);
  // h += gate * (x W^T + b); gate may be empty
  void multiply_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate);

 private:
  class Primitives;
  int threads_;
  std::unique_ptr<Primitives> primitives_;
  Memory staging_;  // where matrices are read to, until the first product
  std::int64_t staging_bytes_ = 0;
};

}  // namespace nervus
