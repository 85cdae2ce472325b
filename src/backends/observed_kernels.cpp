#include "backends/observed_kernels.h"

namespace nervus {

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

}  // namespace nervus
