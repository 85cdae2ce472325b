// Whatever the bytes: a file of tensors that can all be read, or an Error.
#include <cstdlib>

#include "checkpoint/safetensors.h"
#include "memory_file.h"
#include "nervus/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const nervus::fuzz::MemoryFile memory(data, bytes);
  try {
    const auto file = nervus::Safetensors::open(memory.path());
    for (const auto& tensor : file.tensors()) {
      if (file.read(tensor.name).bytes.size() != tensor.bytes) std::abort();
      nervus::Array wide(nervus::DType::f32, tensor.shape);
      file.read(tensor, nervus::DType::f32, wide.bytes.data());
    }
  } catch (const nervus::Error& error) {
    if (error.kind() == nervus::ErrorKind::internal) std::abort();
  }
  return 0;
}
