// What the op tests share: a device to try, fresh random inputs, poisoned outputs, and the comparison with the
// reference.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "backends/device.h"
#include "core/tensor.h"

namespace nervus {

// One device under test. The same seed gives the same inputs on every device of the same precision.
class Lab {
 public:
  Lab(Device& device, std::uint64_t seed) : device_(device), random_(seed) {}

  Device& device() { return device_; }
  Kernels& kernels() { return device_.kernels(); }
  DType activation() const { return device_.activation(); }

  // Nearly normal values of a given deviation.
  Tensor input(DType dtype, std::int64_t rows, std::int64_t columns, float deviation = 1.0f, float mean = 0.0f);
  Tensor input(DType dtype, std::int64_t rows, std::int64_t columns, const std::vector<float>& values);
  Tensor integers(std::int64_t rows, std::int64_t columns, const std::vector<std::int32_t>& values);
  Tensor bytes(std::int64_t rows, std::int64_t columns);  // random
  // Filled with NaN.
  Tensor output(DType dtype, std::int64_t rows, std::int64_t columns);
  Tensor scaled_output(DType format, std::int64_t rows, std::int64_t columns);  // of e4m3 or f16, see scaled()
  // Filled with a code that no kernel writes, its rows' scales with NaN.
  Tensor int8_output(std::int64_t rows, std::int64_t columns);
  // A weight of deviation 1 / sqrt(inputs), so that outputs are near 1.
  Linear linear(std::int64_t inputs, std::int64_t outputs, bool bias, bool full_output = false);

  std::vector<float> values(const Tensor& x);  // as stored, not times the scale
  std::vector<float> row_scales(const Tensor& x);
  std::vector<float> random_values(std::int64_t count, float deviation, float mean = 0.0f);

 private:
  Device& device_;
  std::mt19937_64 random_;
};

// A device to try.
struct Candidate {
  std::string name;
  std::function<std::unique_ptr<Device>(int threads)> make;
};
// The CPU with each instruction set that this machine has. In bf16 its linears are oneDNN's (none is tried where it has
// none), in f32 its own, and those of one more oneDNN's. Empty in a build without the CPU's computing.
std::vector<Candidate> cpu_candidates(Precision precision);
// Those and cuda:0; where there is none, the reason is printed once.
std::vector<Candidate> candidates(Precision precision);

// cuda:0, or null and a message of why not.
std::unique_ptr<Device> cuda_or_skip(Precision precision);

// Compares by the row of tolerances.h for `op` and `output`; NaN equals NaN.
void check_close(const std::string& op, DType output, const std::vector<float>& found,
                 const std::vector<float>& expected);
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

using Body = std::function<std::vector<float>(Lab&)>;

// Runs `body` on every candidate in both precisions and on the reference, and compares what it returns by the row of
// tolerances.h for `op` and `output` (f32 precision has f32 outputs only).
void check_against_reference(const std::string& op, bool f32_output, const Body& body);

// The same where Lab::linear's is held in e4m3 or f16, on the candidates that have such products; `output` is that of
// what the body returns, or empty for the activation type.
constexpr float test_scale = 0.0117f;  // of inputs in e4m3
Encoding scaled(DType format);
Format held(DType format);  // of a linear that reads that
void check_scaled(DType format, const std::string& op, std::optional<DType> output, const Body& body);
// The same in int8.
void check_int8(const std::string& op, std::optional<DType> output, const Body& body);

}  // namespace nervus
