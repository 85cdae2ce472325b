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

// Memory that grows to the largest size asked for; what was in it is lost then.
class Scratch {
 public:
  void* reserve(std::int64_t bytes);
  void* data() const { return memory_.get(); }
  void release();

 private:
  Memory memory_;
  std::int64_t bytes_ = 0;
};

}  // namespace nervus
