#include <algorithm>
#include <chrono>

#include "backends/ops.h"
#include "nervus/tools.h"
#include "preprocess/noise.h"
#include "runtime/engine.h"

namespace nervus {

double measure_matrix_rate(const LoadOptions& options) {
  constexpr std::int64_t rows = 256, inputs = 4096, outputs = 4096;
  constexpr std::chrono::seconds patience{1};
  const std::unique_ptr<Device> device = open_device(options);
  LinearSource source{.name = "matrix rate", .outputs = outputs, .inputs = inputs};
  source.read_weight = [](DType to, void* target) {
    std::vector<float> values(inputs * outputs);
    fill_synthetic(1, 0, 0, 0.02f, values.data(), values.size());
    convert(DType::f32, values.data(), to, target, inputs * outputs);
  };
  const Linear linear = device->make_linear(source);
  std::vector<float> values(rows * inputs);
  fill_synthetic(1, 1, 0, 1.0f, values.data(), values.size());
  const Tensor host = device->constant(rows, inputs, values);
  const std::int64_t bytes = 4 * (rows * inputs + rows * outputs) + 4 * Workspace::alignment;
  Workspace workspace(device->allocate(bytes), bytes);
  Ops ops(device->kernels(), workspace, device->activation());
  const Tensor x = ops.encode(host, linear.input);
  double best = 0;
  const auto end = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < end) {
    const auto scope = ops.scope();
    const auto start = std::chrono::steady_clock::now();
    const Tensor y = ops.linear(x, linear);
    std::uint32_t first = 0;
    device->download(&first, {y.data, y.dtype, 1, 1});  // waits
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2.0 * rows * inputs * outputs / elapsed.count());
  }
  return best;
}

}  // namespace nervus
