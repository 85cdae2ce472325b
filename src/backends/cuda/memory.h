// Memory of a device: the arena behind weights and buffers, and the pinned memory that copies go through.
#pragma once

#include <map>
#include <vector>

#include "backends/cuda/handles.h"

namespace nervus::cuda {

// Memory for the life of the device, zero-filled. Small pieces share blocks.
class Arena {
 public:
  explicit Arena(const Stream& stream) : stream_(stream) {}

  void* allocate(std::int64_t bytes);
  std::int64_t allocated() const { return allocated_; }

 private:
  static constexpr std::int64_t block = std::int64_t{64} << 20;

  const Stream& stream_;
  std::vector<DeviceBuffer> blocks_;
  std::byte* next_ = nullptr;  // in the newest shared block
  std::int64_t left_ = 0;
  std::int64_t allocated_ = 0;
};

// Pinned slots, taken in turn, so that the host fills one while others are copied.
class Staging {
 public:
  Staging(const Stream& stream, int slots) : stream_(stream), slots_(static_cast<std::size_t>(slots)) {}

  // The next slot, of at least `bytes` bytes; waits until its last copy is done.
  void* take(std::int64_t bytes);
  // Starts the copy of the slot taken last to the device, from byte `begin` on.
  void copy(void* target, std::int64_t bytes, std::int64_t begin = 0);
  // Where in the slot taken last these bytes are; -1: they are elsewhere.
  std::int64_t place_of(const void* memory, std::int64_t bytes) const;
  // Copies host memory of any size; the source may change as soon as this returns.
  void upload(void* target, const void* source, std::int64_t bytes);
  // Waits for the copies and frees the slots until they are needed again.
  void release();

 private:
  static constexpr std::int64_t piece = std::int64_t{8} << 20;

  struct Slot {
    PinnedBuffer memory;
    std::int64_t bytes = 0;
    Event copied;
  };

  const Stream& stream_;
  std::vector<Slot> slots_;
  std::size_t current_ = 0;
};

// Pinned memory that belongs to places on the device: filled by the host, then copied there.
class Mirrors {
 public:
  explicit Mirrors(const Stream& stream) : stream_(stream) {}

  // Of `target`, at least `bytes` bytes; waits until its last copy is done.
  void* of(const void* target, std::int64_t bytes);
  // Starts the copy if `source` is the mirror of `target`, or the same part of both; false if it is not.
  bool copy(void* target, const void* source, std::int64_t bytes);

 private:
  const Stream& stream_;
  std::map<const void*, Staging> mirrors_;
};

}  // namespace nervus::cuda
