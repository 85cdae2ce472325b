#include "backends/cuda/memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "core/workspace.h"

namespace nervus::cuda {
namespace {

// In bytes, of any two addresses.
std::int64_t distance(const void* from, const void* to) {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from));
}

}  // namespace

void* Arena::allocate(std::int64_t bytes) {
  check(bytes >= 0, "allocate: a size");
  const std::int64_t size =
      std::max<std::int64_t>(1, (bytes + Workspace::alignment - 1) / Workspace::alignment) * Workspace::alignment;
  if (size > left_) {
    stream_.use();
    const bool shared = size <= block / 4;
    DeviceBuffer memory = device_buffer(shared ? block : size);
    auto* start = static_cast<std::byte*>(memory.get());
    check_cuda(cudaMemsetAsync(start, 0, static_cast<std::size_t>(shared ? block : size), stream_.get()),
               "clearing memory");
    blocks_.push_back(std::move(memory));
    if (!shared) {
      allocated_ += bytes;
      return start;
    }
    next_ = start;
    left_ = block;
  }
  allocated_ += bytes;
  left_ -= size;
  return std::exchange(next_, next_ + size);
}

void* Staging::take(std::int64_t bytes) {
  stream_.use();
  current_ = (current_ + 1) % slots_.size();
  Slot& slot = slots_[current_];
  if (slot.copied) check_cuda(cudaEventSynchronize(slot.copied.get()), "waiting for a copy");
  else slot.copied = make_event(cudaEventDisableTiming);
  if (bytes > slot.bytes) {
    slot.memory = PinnedBuffer();
    slot.bytes = 0;
    slot.memory = pinned_buffer(bytes);
    slot.bytes = bytes;
  }
  return slot.memory.get();
}

void Staging::copy(void* target, std::int64_t bytes, std::int64_t begin) {
  Slot& slot = slots_[current_];
  check_cuda(cudaMemcpyAsync(target, static_cast<const std::byte*>(slot.memory.get()) + begin,
                             static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream_.get()),
             "copying " + megabytes(bytes) + " to the device");
  check_cuda(cudaEventRecord(slot.copied.get(), stream_.get()), "noting a copy");
}

std::int64_t Staging::place_of(const void* memory, std::int64_t bytes) const {
  const Slot& slot = slots_[current_];
  const std::int64_t place = distance(slot.memory.get(), memory);
  return place >= 0 && place + bytes <= slot.bytes ? place : -1;
}

void Staging::upload(void* target, const void* source, std::int64_t bytes) {
  for (std::int64_t done = 0; done < bytes; done += piece) {
    const std::int64_t size = std::min(piece, bytes - done);
    std::memcpy(take(size), static_cast<const std::byte*>(source) + done, static_cast<std::size_t>(size));
    copy(static_cast<std::byte*>(target) + done, size);
  }
}

void Staging::release() {
  for (Slot& slot : slots_) {
    if (slot.copied) check_cuda(cudaEventSynchronize(slot.copied.get()), "waiting for a copy");
    slot = Slot();
  }
}

void* Mirrors::of(const void* target, std::int64_t bytes) {
  return mirrors_.try_emplace(target, stream_, 1).first->second.take(bytes);
}

bool Mirrors::copy(void* target, const void* source, std::int64_t bytes) {
  const auto next = mirrors_.upper_bound(target);
  if (next == mirrors_.begin()) return false;
  auto& [start, mirror] = *std::prev(next);
  const std::int64_t begin = distance(start, target);
  if (mirror.place_of(source, bytes) != begin) return false;
  mirror.copy(target, bytes, begin);
  return true;
}

}  // namespace nervus::cuda
