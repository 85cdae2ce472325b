#include "backends/device.h"

namespace nervus {
namespace {

template <typename T>
Tensor make_constant(Device& device, std::int64_t rows, std::int64_t columns, const std::vector<T>& values) {
  Tensor tensor{nullptr, dtype_of<T>(), rows, columns};
  check(tensor.count() == static_cast<std::int64_t>(values.size()), "constant: value count and shape differ");
  tensor.data = device.allocate(tensor.bytes());
  if (!values.empty()) device.upload(tensor, values.data());
  return tensor;
}

}  // namespace

Tensor Device::constant(std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
  return make_constant(*this, rows, columns, values);
}

Tensor Device::constant(std::int64_t rows, std::int64_t columns, const std::vector<std::int32_t>& values) {
  return make_constant(*this, rows, columns, values);
}

}  // namespace nervus
