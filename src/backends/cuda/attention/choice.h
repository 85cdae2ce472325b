// Which attention kernel computes a call, and why: narrow.cu, tile.cu and tile_sm90.cu are the fast ones,
// kernels/attention.cu is the plain one. Calls are met, and refused, while a policy is loaded.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "backends/kernels.h"
#include "nervus/options.h"

namespace nervus::cuda {

enum class AttentionKernel { narrow, tile, tile_sm90, plain };

class AttentionChoice {
 public:
  // sm90: the device has the products of tile_sm90.cu, and they are to be used.
  AttentionChoice(Attention wanted, bool sm90) : wanted_(wanted), sm90_(sm90) {}

  // Throws Error(unsupported) where the fast kernels are wanted and lack the shape.
  AttentionKernel choose(const Tensor& y, const Tensor& q, const KeyValues& cache, const Heads& heads);

  // What is wanted, then a line for each kind of call: "16 heads of 128 over 2, bf16: fast, by tiles".
  std::vector<std::string> plan() const;

 private:
  using Kind = std::array<std::int64_t, 6>;

  Attention wanted_;
  bool sm90_;
  std::map<Kind, std::string> lines_;
};

}  // namespace nervus::cuda
