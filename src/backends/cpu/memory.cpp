#include "backends/cpu/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <string>

#include "core/check.h"
#include "core/workspace.h"

namespace nervus {

void FreeMemory::operator()(void* memory) const noexcept { std::free(memory); }

Memory allocate_memory(std::int64_t bytes) {
  constexpr std::int64_t huge_page = std::int64_t{1} << 21;
  const bool large = bytes >= 2 * huge_page;
  const std::int64_t alignment = large ? huge_page : Workspace::alignment;
  const std::int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  Memory memory(std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(rounded)));
  if (!memory && rounded > 0) {
    fail(ErrorKind::unsupported, "this machine has not enough memory: " + std::to_string(bytes) + " bytes refused");
  }
#if defined(MADV_HUGEPAGE)
  if (large) madvise(memory.get(), static_cast<std::size_t>(rounded), MADV_HUGEPAGE);  // only a wish
#endif
  return memory;
}

void* Scratch::reserve(std::int64_t bytes) {
  if (bytes > bytes_) {
    release();
    memory_ = allocate_memory(bytes);
    bytes_ = bytes;
  }
  return memory_.get();
}

void Scratch::release() {
  memory_.reset();
  bytes_ = 0;
}

}  // namespace nervus
