// Which formats the linears of a fused block have, of those that a recipe gives them.
#pragma once

#include <map>
#include <string>

#include "backends/linear.h"

namespace nervus::cuda {

struct BlockFormats {
  std::string refusal;                     // why the block is not fused in them; empty where it is
  std::string text;                        // for the plan: ", 2 linears in f8_e4m3"; may be empty
  std::map<std::string, Encoding> inputs;  // of the linears that were given a format, where it is fused
};

// `given`: of the block's linears alone. One that reads the stream before its norm and whose range there is not known
// stays in bf16, and the text says so.
BlockFormats block_formats(const BlockShape& shape, const Formats& given);

}  // namespace nervus::cuda
