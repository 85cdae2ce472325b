// A lab for ops whose tensors may be tiled. The same body runs on a device that fuses, in bf16, and on the reference
// in float32, from inputs and weights that bf16 holds exactly; the errors are then the kernels' own.
#pragma once

#include "backends/ops.h"
#include "lab.h"

namespace nervus {

class FusedLab {
 public:
  // Tensors from ops() lie in memory that was filled with NaN; so is the padding of rows().
  FusedLab(Device& device, std::uint64_t seed);

  Lab& plain() { return lab_; }
  Ops& ops() { return ops_; }
  bool tiles() const { return tiles_; }
  Encoding encoding() const { return {.dtype = lab_.activation(), .tiled = tiles_}; }
  Encoding e4m3() const { return {.dtype = DType::e4m3, .scale = test_scale, .tiled = tiles_}; }

  // Random values that bf16 holds.
  std::vector<float> draw(std::int64_t count, float deviation, float mean = 0.0f);
  Tensor rows(std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
    return this->rows(rows, columns, values, encoding());
  }
  Tensor rows(std::int64_t rows, std::int64_t columns, std::vector<float> values, const Encoding& encoding);
  // Without the padding, in row-major order; as stored, not times the scale.
  std::vector<float> values(const Tensor& x);
  // `shape` says all but the numbers, which are drawn, and may leave the name to be "weight".
  Linear linear(LinearSource shape, bool bias);

 private:
  Lab lab_;
  bool tiles_;
  Workspace workspace_;
  Ops ops_;
};

}  // namespace nervus
