// A lab for ops of fused blocks. The same body runs on a device that fuses, in bf16, and on the reference in float32,
// from inputs and weights that bf16 holds exactly; the errors are then the kernels' own.
#pragma once

#include "backends/ops.h"
#include "lab.h"

namespace nervus {

class FusedLab {
 public:
  // Linears are made by the plan. Tensors from ops() lie in memory that was filled with NaN; so is the padding of
  // rows().
  FusedLab(Device& device, std::uint64_t seed, const BlockPlan& plan);

  Lab& plain() { return lab_; }
  Ops& ops() { return ops_; }
  bool fuses() const { return plan_.fused; }
  bool tiles() const { return plan_.fused && !plan_.wide; }
  Encoding encoding() const { return {.dtype = lab_.activation(), .tiled = tiles()}; }
  Encoding e4m3() const { return {.dtype = DType::e4m3, .scale = test_scale, .tiled = tiles()}; }

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
  // The same of one before or behind the blocks.
  Linear edge(LinearSource shape, bool bias);

 private:
  Linear make(LinearSource shape, bool bias, const BlockPlan* block);

  Lab lab_;
  BlockPlan plan_;
  Workspace workspace_;
  Ops ops_;
};

}  // namespace nervus
