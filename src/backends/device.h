// Device: where a model's numbers live and who computes on them. Everything is allocated when the
// policy is loaded; what can fail, fails there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/kernels.h"
#include "nervus/options.h"

namespace nervus {

class Device {
 public:
  virtual ~Device() = default;

  // "cpu (2 threads, avx512_bf16)"
  virtual std::string description() const = 0;
  virtual Kernels& kernels() = 0;
  // The type of activations between ops: f32, or bf16 where the precision is.
  virtual DType activation() const = 0;

  // Reads, converts and packs a weight.
  virtual Linear make_linear(const LinearSource& source) = 0;
  // Memory for the life of the device, zero-filled, aligned to Workspace::alignment.
  virtual void* allocate(std::int64_t bytes) = 0;
  // Host -> device; `target.bytes()` bytes.
  virtual void upload(const Tensor& target, const void* source) = 0;
  // Device -> host; waits for what was launched before.
  virtual void download(void* target, const Tensor& source) = 0;
  // Bytes that weights and allocations hold.
  virtual std::int64_t memory() const = 0;

  // A device tensor holding the values: f32 or i32.
  Tensor constant(std::int64_t rows, std::int64_t columns, const std::vector<float>& values);
  Tensor constant(std::int64_t rows, std::int64_t columns, const std::vector<std::int32_t>& values);
};

// The CPU. threads 0 means all cores this process may use. Linears are oneDNN's where it has products of the precision
// for this processor, otherwise the project's own; description() says which.
std::unique_ptr<Device> make_cpu_device(Precision precision, int threads);

}  // namespace nervus
