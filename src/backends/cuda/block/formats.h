// Whether a block is fused, and which formats its linears have then, of those that a recipe gives them.
#pragma once

#include <string>

#include "backends/linear.h"

namespace nervus::cuda {

struct FusedBlock {
  BlockPlan plan;
  std::string text;  // "five fused kernels a layer, 2 linears in f8_e4m3", or "not fused: " and why
};

FusedBlock not_fused(const std::string& why);
// By the kernels for few rows up to most_block_rows, beyond by wide tiles. `given`: of the block's linears alone. One
// that reads the stream before its norm and whose range there is not known stays in bf16, and the text says so.
FusedBlock fuse_block(const BlockShape& shape, const Formats& given);

}  // namespace nervus::cuda
