// Linears of a CUDA device, in f32, bf16, f16 and 8 bits: products by cuBLASLt, for each shape with the algorithm that
// was fastest when the shape was met first; by the plain kernel where the library has none for it, and by our own
// (wide/) where that adds to a residual stream sooner.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/kernels.h"
#include "backends/cuda/memory.h"

namespace nervus::cuda {

class Linears {
 public:
  Linears(const Stream& stream, Arena& arena);

  // Reads and uploads the weight of `w`, in the format that w.input asks for.
  std::shared_ptr<const void> pack(const LinearSource& source, const Linear& w, Staging& staging);
  // The weight of `w` with another bias, w.bias.
  std::shared_ptr<const void> with_bias(const Linear& w);
  // y = x W^T + b, or with `add` y += gate * (x W^T + b). A shape that is new here is measured, which must not happen
  // while a graph is recorded.
  void run(const Tensor& y, const Tensor& x, const Linear& w, const Tensor& gate, bool add);

  // A line for each shape: "3840 x 1280, 768 rows: cuBLASLt algorithm 66, 12.3 us, the best of 8"; of 8 bits it says
  // so, and whether a kernel of its own applies the scales, which the library cannot on every device.
  std::vector<std::string> plan() const;

 private:
  struct Plan;
  struct Operands;
  struct PackedWeight;
  using Key = std::array<std::int64_t, 6>;

  Tensor bias_of(const Linear& w);
  const Plan& plan_for(const Operands& operands, const LinearCall& call, const PackedWeight& packed);
  void find_candidates(Plan& plan, const Operands& operands);
  void measure(Plan& plan, const Operands& operands);
  void measure_wide(Plan& plan, const LinearCall& call, const PackedWeight& packed);
  cublasStatus_t multiply(const Plan& plan, const Operands& operands, const cublasLtMatmulAlgo_t& algorithm) const;
  Tensor scratch(std::int64_t rows, std::int64_t columns);
  const void* ones(std::int64_t count);

  const Stream& stream_;
  Arena& arena_;
  BlasHandle library_;
  void* workspace_;
  std::map<Key, std::shared_ptr<Plan>> plans_;
  void* scratch_ = nullptr;
  std::int64_t scratch_bytes_ = 0;
  Tensor ones_;
};

}  // namespace nervus::cuda
