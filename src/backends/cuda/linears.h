// Linears of a CUDA device, in f32, bf16, f16 and 8 bits: products by cuBLASLt, for each shape with the algorithm that
// was fastest when the shape was met first (choices.h); by the plain kernel where the library has none for it, and by
// our own (wide/) where that adds to a residual stream sooner.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/choices.h"
#include "backends/cuda/kernels.h"
#include "backends/cuda/memory.h"

namespace nervus::cuda {

class Linears {
 public:
  Linears(const Stream& stream, Arena& arena, Choices& choices);

  // Reads and uploads the weight of `w`, in the format that w.input asks for.
  std::shared_ptr<const void> pack(const LinearSource& source, const Linear& w, Staging& staging);
  // The weight of `w` with another bias, w.bias.
  std::shared_ptr<const void> with_bias(const Linear& w);
  // y = x W^T + b, or with `add` y += gate * (x W^T + b). A shape that is new here may be measured, which must not
  // happen while a graph is recorded.
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
  const Plan& plan_for(const Operands& operands, const LinearCall& call);
  bool has_tiles(const Operands& operands, const LinearCall& call) const;
  bool fits(const Choice& choice, const Operands& operands, const LinearCall& call);
  bool multiplies(const Operands& operands, const cublasLtMatmulAlgo_t& algorithm);
  bool describe(Plan& plan, const Operands& operands);
  Choice fastest_algorithm(const Operands& operands);
  Choice fastest(const Operands& operands, const LinearCall& call);
  cublasStatus_t multiply(const Plan& plan, const Operands& operands, const cublasLtMatmulAlgo_t& algorithm);
  cublasLtHandle_t library();
  Tensor scratch(std::int64_t rows, std::int64_t columns);
  const void* ones(std::int64_t count);

  const Stream& stream_;
  Arena& arena_;
  Choices& choices_;
  BlasHandle library_;
  void* workspace_;
  std::map<Key, std::shared_ptr<Plan>> plans_;
  void* scratch_ = nullptr;
  std::int64_t scratch_bytes_ = 0;
  Tensor ones_;
};

}  // namespace nervus::cuda
