#include "reference/device.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "core/int8.h"
#include "core/workspace.h"
#include "reference/kernels.h"

namespace nervus {
namespace {

// Rounds a row to an 8-bit format over the scale that takes its largest |w| to the format's.
void quantise(DType format, float* row, std::int64_t count) {
  float largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(row[i]));
  const bool integer = format == DType::i8;
  const float scale = integer ? int8_scale(largest) : largest > 0 ? largest / Float8::largest : 1.0f;
  for (std::int64_t i = 0; i < count; ++i) {
    row[i] = scale * (integer ? to_int8(row[i], scale) : to_float(to_float8(row[i] / scale)));
  }
}

class ReferenceDevice final : public Device {
 public:
  explicit ReferenceDevice(Precision precision)
      : activation_(precision == Precision::bf16 ? DType::bf16 : DType::f32) {}

  std::string description() const override { return "reference"; }
  Kernels& kernels() override { return kernels_; }
  DType activation() const override { return activation_; }
  bool multiplies(DType dtype) const override {
    return dtype == activation_ || dtype == DType::f16 || size_of(dtype) == 1;
  }

  Linear make_linear(const LinearSource& source) override {
    Linear w = begin_linear(source);
    auto weight = std::make_shared<ReferenceWeight>(static_cast<std::size_t>(w.inputs * w.outputs));
    const bool quantised = size_of(w.input.dtype) == 1;
    const DType read = quantised ? DType::bf16 : w.input.dtype;
    std::vector<std::byte> bytes(weight->size() * size_of(read));
    source.read_weight(read, bytes.data());
    convert_to_float(read, bytes.data(), weight->data(), w.inputs * w.outputs);
    for (std::int64_t n = 0; quantised && n < w.outputs; ++n) {
      quantise(w.input.dtype, weight->data() + n * w.inputs, w.inputs);
    }
    w.weight = weight;
    return w;
  }

  void* allocate(std::int64_t bytes) override {
    const auto rounded = static_cast<std::size_t>(bytes + Workspace::alignment) / Workspace::alignment;
    allocations_.push_back(std::make_unique<Line[]>(rounded));
    memory_ += bytes;
    return allocations_.back().get();
  }

  void upload(const Tensor& target, const void* source) override {
    if (target.bytes() > 0) std::memcpy(target.data, source, static_cast<std::size_t>(target.bytes()));
  }
  void download(void* target, const Tensor& source) override {
    if (source.bytes() > 0) std::memcpy(target, source.data, static_cast<std::size_t>(source.bytes()));
  }
  std::int64_t memory() const override { return memory_; }

 private:
  struct alignas(Workspace::alignment) Line {
    std::byte bytes[Workspace::alignment];
  };

  DType activation_;
  ReferenceKernels kernels_;
  std::vector<std::unique_ptr<Line[]>> allocations_;
  std::int64_t memory_ = 0;
};

}  // namespace

std::unique_ptr<Device> make_reference_device(Precision precision) {
  return std::make_unique<ReferenceDevice>(precision);
}

}  // namespace nervus
