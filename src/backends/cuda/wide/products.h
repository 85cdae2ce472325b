// The wide linears of a CUDA device (kernels.h, Linear::wide): their weights, and for each shape the tile that was
// fastest when the shape was met first (choices.h).
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/choices.h"
#include "backends/cuda/memory.h"
#include "backends/cuda/wide/kernels.h"

namespace nervus::cuda {

// The tile for which `launch` took the least time.
Choice fastest_tile(const Stream& stream, WideRole role, const Tensor& weight,
                    const std::function<void(const WideTile&)>& launch);
// Whether it is a tile that can multiply by the weight.
bool is_tile_for(const Choice& choice, WideRole role, const Tensor& weight);
// "12.3 us"
std::string time_of(const Choice& choice);
// A weight of 16 or 32 bits whose inputs are stored over a scale becomes itself times that, in place. Throws
// Error(checkpoint) that names the linear where that is beyond f16.
void take_scale(const Stream& stream, const Tensor& weight, const Linear& w);
// " f8_e4m3"; empty of the activation types
std::string format_of(DType dtype);

class WideProducts {
 public:
  WideProducts(const Stream& stream, Arena& arena, Choices& choices)
      : stream_(stream), arena_(arena), choices_(choices) {}

  // Whether there are kernels for it.
  bool fits(const LinearSource& source, const Linear& w) const;
  // Reads the weight of `w`, puts its rows into the order of its role, and quantises them where w.input asks for 8
  // bits.
  std::shared_ptr<const void> pack(const LinearSource& source, const Linear& w, Staging& staging);

  // Of a fused linear: b + W shift.
  void fold(const Tensor& folded, const Linear& w, const Tensor& shift);

  // As fused_qkv, fused_gate_up and fused_linear_add of backends/kernels.h; of a linear that is not fused, h.scaled is
  // the norm. A shape that is new here may be measured, which must not happen while a graph is recorded.
  void qkv(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h, const Norm& norm,
           const Linear& w, const Rope& rope);
  void gate_up(const Tensor& y, const Residual& h, const Norm& norm, const Linear& w);
  void linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate, const Norm& next);

  // A line for each shape: "2560 x 2048 f8_e4m3, 242 rows: qkv by tiles of 128 x 96, ..., 5.9 us".
  std::vector<std::string> plan() const;

 private:
  struct Plan {
    WideTile tile;
    std::string line;
  };
  using Key = std::array<std::int64_t, 5>;

  using Launch = std::function<void(const WideTile&)>;

  // launch(tile) computes it; trial(tile) takes as long, and may be repeated.
  void run(WideRole role, const WideProduct& product, const Launch& launch, const Launch& trial);

  const Stream& stream_;
  Arena& arena_;
  Choices& choices_;
  std::map<Key, Plan> plans_;
};

}  // namespace nervus::cuda
