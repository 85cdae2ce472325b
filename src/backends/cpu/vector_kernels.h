// The table of the CPU's own kernels. vector_kernels.cpp is compiled once for each instruction set and
// the best one that the processor has is chosen when a device is made.
#pragma once

#include <vector>

#include "backends/kernels.h"

namespace nervus {

// y = x W^T + b, or y += gate * (x W^T + b). x and W are of one type, f32 or bf16; y is f32, or bf16 as they are. W
// lies in panels of VectorKernels::panel outputs, the last one filled up with zeros: [ceil(N / panel), K, panel].
struct PanelProduct {
  const Tensor& y;
  const Tensor& x;
  const void* panels;
  const float* bias;  // may be null
  const float* gate;  // may be null
  bool add;
};

// Arguments as in kernels.h. `threads` changes the time only, never the values: work is divided by rows
// (and heads), and a row's arithmetic does not depend on other rows or on its place.
struct VectorKernels {
  const char* name;  // of the instruction set
  std::int64_t panel;
  void (*multiply)(const PanelProduct& product, int threads);
  void (*rms_norm)(const Tensor& y, const Tensor& h, const Norm& norm, int threads);
  void (*split_rope)(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv,
                     const Heads& heads, const Rope& rope, int threads);
  // Bytes of scratch memory, aligned to Workspace::alignment, that `attention` needs.
  std::int64_t (*attention_scratch)(std::int64_t rows, std::int64_t slots, const Heads& heads, int threads);
  void (*attention)(const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges, const Heads& heads,
                    void* scratch, int threads);
  void (*swiglu)(const Tensor& y, const Tensor& x, int threads);
  void (*silu)(const Tensor& y, const Tensor& x, int threads);
  void (*gelu)(const Tensor& y, const Tensor& x, int threads);
  void (*gather_rows)(const Tensor& y, const Tensor& x, const Tensor& index, int threads);
  void (*euler_step)(const Tensor& x, const Tensor& v, float dt, int threads);
};

// The tables that this processor can run, best first; never empty.
std::vector<const VectorKernels*> vector_kernels();

}  // namespace nervus
