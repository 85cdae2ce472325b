// Rotation: an orthogonal matrix Q that spreads a channel over all. A residual stream that only RMS norms read can be
// held as Q h: a norm leaves the length of a row alone, what writes the stream is multiplied by Q when it is loaded,
// and what reads it by Q^T. That changes no result but by rounding, and rows without large channels lose less in int8.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/parallel.h"

namespace nervus {

// Q = H S / sqrt(size). S has signs that look random, so that no constant row ends in one channel. H is a Hadamard
// matrix, of entries 1 and -1 with H H^T = size I: for width m 2^k the Kronecker product of one of order 4 m, where
// there is such (see paley), and Sylvester's of order 2^(k - 2); otherwise m blocks of Sylvester's of order 2^k, so
// that a channel is spread over its block.
class Rotation {
 public:
  explicit Rotation(std::int64_t width);

  // W [rows, columns] becomes Q W: its outputs are added to the stream, and so is a bias, of one column.
  void rotate_outputs(float* weight, std::int64_t rows, std::int64_t columns, Crew& crew) const;
  // W [rows, columns] becomes W diag(scale) Q^T: it read the stream through a norm of this scale, and reads the rotated
  // one through a norm without. Its columns may be several rows of the stream, side by side.
  void rotate_inputs(float* weight, std::int64_t rows, std::int64_t columns, const std::vector<float>& scale,
                     Crew& crew) const;
  // What no |x| of a row behind such a norm exceeds.
  float largest_input() const { return std::sqrt(static_cast<float>(width_)); }

 private:
  void apply(float* vectors, std::int64_t count, std::int64_t next, std::int64_t step, const std::vector<float>& factor,
             Crew& crew) const;
  void transform(float* tile, float* copies) const;

  std::int64_t width_, power_, order_ = 1;  // of Sylvester's matrix, and of the other
  std::vector<float> signs_;                // S / sqrt(size)
  std::vector<float> matrix_;               // of order_
};

// How a linear stands to streams that are rotated: its result is added to the one, it reads the other.
struct Rotated {
  const Rotation* outputs = nullptr;
  const Rotation* inputs = nullptr;
  std::vector<float> scale = {};  // of the norm before

  explicit operator bool() const { return outputs != nullptr || inputs != nullptr; }
  void apply(float* weight, std::int64_t rows, std::int64_t columns, Crew& crew) const;
  void apply_to_bias(std::vector<float>& bias, Crew& crew) const;
  // See LinearSource; 0 where the inputs are as they were.
  float largest_input() const { return inputs != nullptr ? inputs->largest_input() : 0.0f; }
};

// Paley's Hadamard matrix of an order that is 4 n and one more than a prime p; empty if it is not. It is I + [0, 1; -1,
// C], where C[i, j] says whether i - j is a square modulo p (1), none (-1) or zero.
std::vector<float> paley(std::int64_t order);

}  // namespace nervus
