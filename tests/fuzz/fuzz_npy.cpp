// Whatever the bytes: an array no larger than the file, or an Error.
#include <cstdlib>

#include "checkpoint/npy.h"
#include "memory_file.h"
#include "nervus/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const nervus::fuzz::MemoryFile memory(data, bytes);
  try {
    const nervus::Array array = nervus::read_npy(memory.path());
    if (array.bytes.size() > bytes || array.to_float().size() * size_of(array.dtype) != array.bytes.size())
      std::abort();
  } catch (const nervus::Error& error) {
    if (error.kind() == nervus::ErrorKind::internal) std::abort();
  }
  return 0;
}
