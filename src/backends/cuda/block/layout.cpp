#include "backends/cuda/block/layout.h"

namespace nervus::cuda {
namespace {

// The kernels that are compiled, by role and format: a cluster's outputs, its blocks, and the steps that a warpgroup
// keeps in registers.
struct Variant {
  BlockRole role;
  DType dtype;
  int columns, cluster, steps;
};

constexpr std::int64_t attention_head = 128;  // of attention_narrow

constexpr Variant variants[] = {
    {BlockRole::qkv, DType::bf16, 48, 2, 12},    {BlockRole::gate_up, DType::bf16, 96, 2, 12},
    {BlockRole::add, DType::bf16, 32, 4, 6},     {BlockRole::add, DType::bf16, 32, 4, 16},
    {BlockRole::add, DType::bf16, 32, 5, 18},    {BlockRole::qkv, DType::e4m3, 48, 2, 6},
    {BlockRole::gate_up, DType::e4m3, 96, 2, 6}, {BlockRole::add, DType::e4m3, 32, 4, 8},
    {BlockRole::add, DType::e4m3, 32, 4, 11},
};

}  // namespace

BlockLayout choose_block_layout(BlockRole role, std::int64_t outputs, std::int64_t inputs, std::int64_t head_size,
                                DType dtype) {
  const auto element = static_cast<int>(size_of(dtype));
  constexpr std::int64_t most_outputs = 65535;  // a row of blocks each when they are packed
  const bool fits = outputs <= most_outputs && inputs % step_inputs(element) == 0 &&
                    (role == BlockRole::add || outputs % 32 == 0) && (role != BlockRole::qkv || head_size % 32 == 0);
  for (const Variant& v : variants) {
    const std::int64_t most = step_inputs(element) * v.steps * v.cluster * BlockLayout::warpgroups;
    if (fits && v.role == role && v.dtype == dtype && inputs <= most) {
      return {.role = role,
              .inputs = inputs,
              .outputs = outputs,
              .head_size = head_size,
              .columns = v.columns,
              .cluster = v.cluster,
              .steps = v.steps,
              .element = element};
    }
  }
  return {};
}

bool block_stream_fits(std::int64_t width, std::int64_t head_size) {
  return head_size == attention_head && width % 32 == 0;
}

}  // namespace nervus::cuda
