// Memory of the CPU device: aligned, on huge pages where it is large, freed with its owner.
#pragma once

#include <cstdint>
#include <memory>

namespace nervus {

struct FreeMemory {
  void operator()(void* memory) const noexcept;
};
using Memory = std::unique_ptr<void, FreeMemory>;

// `bytes` uninitialised bytes, aligned to Workspace::alignment or more. Throws Error(unsupported) where the machine has
// not that much.
Memory allocate_memory(std::int64_t bytes);

}  // namespace nervus
