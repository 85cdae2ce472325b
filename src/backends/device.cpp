#include "backends/device.h"

#include "core/dtype.h"
#include "core/message.h"

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

class KeptWork : public Graph {
 public:
  explicit KeptWork(std::function<void()> work) : work_(std::move(work)) {}
  void launch() override { work_(); }

 private:
  std::function<void()> work_;
};

}  // namespace

std::unique_ptr<Graph> Device::capture(std::function<void()> work) {
  return std::make_unique<KeptWork>(std::move(work));
}

void* Device::staging(const Tensor& target) {
  std::vector<std::byte>& memory = staging_[target.data];
  if (std::ssize(memory) < target.bytes()) memory.resize(target.bytes());
  return memory.data();
}

void Device::note(int stamp) { notes_.at(stamp) = std::chrono::steady_clock::now(); }

double Device::milliseconds(int from, int to) const {
  return std::chrono::duration<double, std::milli>(notes_.at(to) - notes_.at(from)).count();
}

void Device::use_formats(Formats formats) {
  for (const auto& [linear, format] : formats) {
    check(multiplies(format.dtype), concat(description(), " has no products of ", name_of(format.dtype)));
  }
  formats_ = std::move(formats);
}

Formats Device::formats_of(std::string_view beginning) const {
  Formats found = formats_;
  std::erase_if(found, [&](const auto& format) { return !format.first.starts_with(beginning); });
  return found;
}

Encoding Device::encoding_for(const std::string& linear) const {
  const auto format = formats_.find(linear);
  return format == formats_.end() ? Encoding{activation()} : Encoding{format->second.dtype, format->second.scale};
}

Linear Device::begin_linear(const LinearSource& source) {
  Linear w{.name = source.name, .inputs = source.inputs, .outputs = source.outputs, .input = encoding_for(source.name)};
  if (source.largest_input > 0 && w.input.dtype == DType::e4m3) w.input.scale = source.largest_input / Float8::largest;
  w.output = source.full_output ? DType::f32 : activation();
  w.heads = source.heads;
  if (source.read_bias) {
    std::vector<float> bias(source.outputs);
    source.read_bias(bias.data());
    w.bias = constant(1, source.outputs, bias);
  }
  return w;
}

Linear Device::with_bias(const Linear& w, const std::vector<float>& bias) {
  Linear other = w;
  other.bias = constant(1, w.outputs, bias);
  return other;
}

Tensor Device::constant(std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
  return make_constant(*this, rows, columns, values);
}

Tensor Device::constant(std::int64_t rows, std::int64_t columns, const std::vector<std::int32_t>& values) {
  return make_constant(*this, rows, columns, values);
}

}  // namespace nervus
