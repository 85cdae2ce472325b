#include "core/workspace.h"

#include <algorithm>
#include <limits>

namespace nervus {

Workspace Workspace::measuring() {
  // Any aligned address will do: it is offset, never read.
  return {reinterpret_cast<void*>(alignment), std::numeric_limits<std::int64_t>::max() / 2};
}

Workspace::Workspace(void* memory, std::int64_t bytes) : base_(static_cast<std::byte*>(memory)), capacity_(bytes) {
  check(reinterpret_cast<std::uintptr_t>(memory) % alignment == 0, "Workspace: aligned memory");
}

Tensor Workspace::allocate(DType dtype, std::int64_t rows, std::int64_t columns) {
  const Tensor tensor{base_ + used_, dtype, rows, columns};
  const std::int64_t size = (tensor.bytes() + alignment - 1) / alignment * alignment;
  if (size > capacity_ - used_) {
    fail(ErrorKind::input, "this call needs more working memory than the policy was loaded with (" +
                               std::to_string(capacity_) + " bytes): load it with larger limits");
  }
  used_ += size;
  peak_ = std::max(peak_, used_);
  return tensor;
}

}  // namespace nervus
