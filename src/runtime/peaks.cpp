// What a device is at a moment, and what it reaches at best.
#include <algorithm>

#include "backends/ops.h"
#include "nervus/tools.h"
#include "preprocess/noise.h"
#include "runtime/engine.h"

namespace nervus {
namespace {

constexpr double patience = 400;     // milliseconds of each measurement
constexpr double worth_growing = 2;  // milliseconds: a product that takes less is too small to show the peak

// The shortest time in milliseconds of one `work`, of which several are in flight between two of the device's notes.
template <typename Work>
double fastest(Device& device, int in_flight, const Work& work) {
  work();  // a device may choose an algorithm at the first
  device.synchronize();
  double best = 0, total = 0;
  for (int round = 0; round < 3 || total < patience; ++round) {
    device.note(0);
    for (int i = 0; i < in_flight; ++i) work();
    device.note(1);
    device.synchronize();
    const double elapsed = device.milliseconds(0, 1);
    best = round == 0 ? elapsed : std::min(best, elapsed);
    total += elapsed;
  }
  return best / in_flight;
}

struct Product {
  std::int64_t rows, inputs, outputs;
  double flops() const { return 2.0 * static_cast<double>(rows * inputs * outputs); }
};

std::vector<float> random_values(std::uint64_t stream, std::int64_t count, float deviation) {
  std::vector<float> values(static_cast<std::size_t>(count));
  fill_synthetic(1, stream, 0, deviation, values.data(), values.size());
  return values;
}

// Milliseconds of a product in the format that the precision is for.
double time_product(const LoadOptions& options, const Product& product) {
  const std::unique_ptr<Device> device = open_device(options);
  LinearSource source{.name = "peak", .outputs = product.outputs, .inputs = product.inputs};
  source.read_weight = [&](DType to, void* target) {
    const std::int64_t count = product.inputs * product.outputs;
    convert(DType::f32, random_values(0, count, 0.02f).data(), to, target, count);
  };
  const Format format = options.precision == Precision::int8  ? Format{DType::i8}
                        : options.precision == Precision::fp8 ? Format{DType::e4m3, 0.02f}
                                                              : Format{device->activation()};
  if (device->multiplies(format.dtype)) device->use_formats({{source.name, format}});
  source.full_output = format.dtype == DType::i8 && device->multiplies(DType::i8);
  const Linear linear = device->make_linear(source);
  const Tensor host =
      device->constant(product.rows, product.inputs, random_values(1, product.rows * product.inputs, 1.0f));
  const std::int64_t bytes =
      4 * product.rows * (product.inputs + product.outputs) + 4 * static_cast<std::int64_t>(Workspace::alignment);
  Workspace workspace(device->allocate(bytes), bytes);
  Ops ops(device->kernels(), workspace, device->activation());
  const Tensor x = ops.encode(host, linear.input);
  const Tensor y = ops.allocate(linear.output, product.rows, product.outputs);
  if (linear.input.dtype == DType::i8) {  // whose fast products are those that add
    return fastest(*device, 4, [&] { device->kernels().linear_add(y, x, linear, {}); });
  }
  return fastest(*device, 4, [&] { ops.linear_into(y, x, linear); });
}

double matrix_rate(const LoadOptions& options) {
  constexpr Product small{256, 4096, 4096}, large{8192, 8192, 8192};
  const double milliseconds = time_product(options, small);
  const double rate = small.flops() / milliseconds * 1e3;
  if (milliseconds > worth_growing) return rate;
  return std::max(rate, large.flops() / time_product(options, large) * 1e3);
}

// Of a copy, and of x -= dt v, whichever is faster.
double memory_rate(const LoadOptions& options) {
  constexpr std::int64_t rows = 1 << 14, columns = 1 << 12;
  constexpr double bytes = 4.0 * rows * columns;
  LoadOptions plain = options;
  plain.precision = Precision::f32;
  plain.attention = Attention::automatic;
  const std::unique_ptr<Device> device = open_device(plain);
  const Tensor x{device->allocate(static_cast<std::int64_t>(bytes)), DType::f32, rows, columns};
  const Tensor y{device->allocate(static_cast<std::int64_t>(bytes)), DType::f32, rows, columns};
  const double copy = fastest(*device, 4, [&] { device->kernels().gather_rows(y, x, {}); });
  const double sum = fastest(*device, 4, [&] { device->kernels().euler_step(y, x, 0.5f); });
  return 1e3 * std::max(2 * bytes / copy, 3 * bytes / sum);
}

}  // namespace

DeviceState device_state(const std::string& device) {
  if (const auto ordinal = cuda_ordinal(device)) return cuda_state(*ordinal);
  return {.unknown = "a CPU's clocks and memory are not asked for"};
}

DevicePeaks measure_peaks(const LoadOptions& options) {
  return {.flops = matrix_rate(options), .bytes_per_second = memory_rate(options)};
}

}  // namespace nervus
