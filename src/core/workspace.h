// Workspace: the arena behind every activation. Scopes mark and release; nothing is allocated after
// load. Its size is found at load by running the forward pass once over a measuring workspace.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace nervus {

class Workspace {
 public:
  // A workspace without memory that only measures: tensors have addresses but must not be read.
  static Workspace measuring();
  // Over `bytes` bytes at `memory` (aligned to `alignment`), on any device.
  Workspace(void* memory, std::int64_t bytes);

  // Uninitialised rows x columns. Throws Error(input) if the arena is full: the call is larger than
  // the limits that the policy was loaded with.
  Tensor allocate(DType dtype, std::int64_t rows, std::int64_t columns);

  // Frees on destruction all that was allocated since.
  class Scope {
   public:
    explicit Scope(Workspace& workspace) : workspace_(workspace), mark_(workspace.used_) {}
    ~Scope() { workspace_.used_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    std::int64_t mark_;
  };
  Scope scope() { return Scope(*this); }

  std::int64_t peak() const { return peak_; }
  std::int64_t capacity() const { return capacity_; }

  static constexpr std::int64_t alignment = 256;

 private:
  std::byte* base_;
  std::int64_t capacity_;
  std::int64_t used_ = 0;
  std::int64_t peak_ = 0;
};

}  // namespace nervus
