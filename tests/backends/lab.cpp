#include "lab.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/float8.h"
#include "reference/device.h"
#include "tolerances.h"

namespace nervus {
namespace {

const Tolerance& tolerance_of(const std::string& op, DType output) {
  for (const Tolerance& row : tolerances) {
    if (row.op == op && row.output == output) return row;
  }
  throw std::out_of_range("tolerances.h has no row for " + op);
}

// The place of a stored value of an 8-bit format among all of them.
int code_of(DType dtype, float value) {
  if (dtype == DType::i8) return static_cast<int>(value);
  const Float8 code = to_float8(value);
  return code.bits & 0x80 ? -(code.bits & 0x7f) : code.bits;
}

double code_difference(DType dtype, const std::vector<float>& found, const std::vector<float>& expected,
                       float ignored) {
  std::int64_t differ = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::abs(found[i] - expected[i]) <= ignored) continue;
    const int distance = std::abs(code_of(dtype, found[i]) - code_of(dtype, expected[i]));
    if (distance > 1) return std::numeric_limits<double>::infinity();
    differ += distance;
  }
  return static_cast<double>(differ) / static_cast<double>(found.size());
}

double difference(const std::vector<float>& found, const std::vector<float>& expected, const Tolerance& tolerance) {
  const Metric metric = tolerance.metric;
  double largest = 0.0;
  for (const float value : expected) largest = std::max(largest, std::abs(static_cast<double>(value)));
  if (metric == Metric::code) return code_difference(tolerance.output, found, expected, 0.0f);
  if (metric == Metric::coarse) {
    return code_difference(tolerance.output, found, expected, static_cast<float>(largest) / 128.0f);
  }
  double worst = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double r = expected[i];
    const double error = std::abs(found[i] - r);
    if (std::isnan(found[i]) && std::isnan(expected[i])) continue;
    if (found[i] == expected[i] || (std::abs(r) < tolerance_floor && std::abs(found[i]) < tolerance_floor)) continue;
    const double scaled = error / (metric == Metric::tensor ? largest : std::abs(r));
    if (!(scaled <= worst)) worst = std::isnan(scaled) ? std::numeric_limits<double>::infinity() : scaled;
  }
  return worst;
}

}  // namespace

std::vector<Candidate> candidates(Precision precision) {
  std::vector<Candidate> made = cpu_candidates(precision);
  static const std::string missing = [] {
    try {
      describe_cuda();
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  }();
  static const bool told = [] {
    if (!missing.empty()) std::printf("skipped on CUDA devices: %s\n", missing.c_str());
    return true;
  }();
  if (told && missing.empty()) made.push_back({"cuda:0", [precision](int) { return make_cuda_device(precision, 0); }});
  return made;
}

std::unique_ptr<Device> cuda_or_skip(Precision precision) {
  try {
    return make_cuda_device(precision, 0);
  } catch (const Error& error) {
    MESSAGE("skipped: " << std::string(error.what()));
    CHECK(error.kind() == ErrorKind::unsupported);
    CHECK_MESSAGE(std::getenv("NERVUS_TEST_NEEDS_CUDA") == nullptr, "a GPU was asked for");
    return nullptr;
  }
}

std::vector<float> Lab::random_values(std::int64_t count, float deviation, float mean) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    const std::uint64_t draw = random_();
    const std::uint64_t sum = (draw & 0xffff) + (draw >> 16 & 0xffff) + (draw >> 32 & 0xffff) + (draw >> 48);
    const float normal = (static_cast<float>(sum) - 131070.0f) * (1.7320508f / 65536.0f);  // the sum of four uniforms
    value = mean + deviation * normal;
  }
  return values;
}

Tensor Lab::input(DType dtype, std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
  const Tensor x{device_.allocate(rows * columns * static_cast<std::int64_t>(size_of(dtype))), dtype, rows, columns};
  std::vector<std::byte> bytes(static_cast<std::size_t>(x.bytes()));
  convert(DType::f32, values.data(), dtype, bytes.data(), x.count());
  device_.upload(x, bytes.data());
  return x;
}

Tensor Lab::input(DType dtype, std::int64_t rows, std::int64_t columns, float deviation, float mean) {
  return input(dtype, rows, columns, random_values(rows * columns, deviation, mean));
}

Tensor Lab::integers(std::int64_t rows, std::int64_t columns, const std::vector<std::int32_t>& values) {
  return device_.constant(rows, columns, values);
}

Tensor Lab::bytes(std::int64_t rows, std::int64_t columns) {
  const Tensor x{device_.allocate(rows * columns), DType::u8, rows, columns};
  std::vector<std::uint8_t> values(static_cast<std::size_t>(x.count()));
  for (std::uint8_t& value : values) value = static_cast<std::uint8_t>(random_());
  device_.upload(x, values.data());
  return x;
}

Tensor Lab::output(DType dtype, std::int64_t rows, std::int64_t columns) {
  const std::vector<float> poison(static_cast<std::size_t>(rows * columns), std::numeric_limits<float>::quiet_NaN());
  return input(dtype, rows, columns, poison);
}

Linear Lab::linear(std::int64_t inputs, std::int64_t outputs, bool bias, bool full_output) {
  const auto weight = random_values(inputs * outputs, 1.0f / std::sqrt(static_cast<float>(inputs)));
  const auto offsets = random_values(outputs, 1.0f);
  LinearSource source;
  source.name = "weight";
  source.inputs = inputs;
  source.outputs = outputs;
  source.full_output = full_output;
  source.read_weight = [&](DType to, void* target) {
    convert(DType::f32, weight.data(), to, target, inputs * outputs);
  };
  if (bias) source.read_bias = [&](float* target) { std::memcpy(target, offsets.data(), offsets.size() * 4); };
  return device_.make_linear(source);
}

std::vector<float> Lab::values(const Tensor& x) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(x.bytes()));
  device_.download(bytes.data(), x);
  std::vector<float> wide(static_cast<std::size_t>(x.count()));
  convert_to_float(x.dtype, bytes.data(), wide.data(), x.count());
  return wide;
}

void check_close(const std::string& op, DType output, const std::vector<float>& found,
                 const std::vector<float>& expected) {
  const Tolerance& tolerance = tolerance_of(op, output);
  INFO(op);
  REQUIRE(found.size() == expected.size());
  CHECK(difference(found, expected, tolerance) <= tolerance.bound);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

Encoding scaled(DType format) { return {format, format == DType::f16 ? float16_input_scale : test_scale}; }

Format held(DType format) { return {format, format == DType::i8 ? 1.0f : scaled(format).scale}; }

Tensor Lab::scaled_output(DType format, std::int64_t rows, std::int64_t columns) {
  Tensor y = output(format, rows, columns);
  y.scale = scaled(format).scale;
  return y;
}

Tensor Lab::int8_output(std::int64_t rows, std::int64_t columns) {
  Tensor y{device_.allocate(rows * columns), DType::i8, rows, columns};
  const std::vector<std::int8_t> poison(static_cast<std::size_t>(y.count()), std::int8_t{-128});
  device_.upload(y, poison.data());
  y.row_scales = static_cast<float*>(output(DType::f32, 1, rows).data);
  return y;
}

std::vector<float> Lab::row_scales(const Tensor& x) { return values({x.row_scales, DType::f32, 1, x.rows}); }

namespace {

void compare(const std::string& op, std::optional<DType> output, const Formats& formats, const Body& body) {
  const std::uint64_t seed = std::random_device{}();
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const auto reference = make_reference_device(precision);
    reference->use_formats(formats);
    Lab reference_lab(*reference, seed);
    const std::vector<float> expected = body(reference_lab);
    CHECK_FALSE(expected.empty());
    for (const Candidate& candidate : candidates(precision)) {
      const auto device = candidate.make(2);
      if (!formats.empty() && !device->multiplies(formats.begin()->second.dtype)) continue;
      device->use_formats(formats);
      Lab lab(*device, seed);
      const std::vector<float> found = body(lab);
      INFO(op << " on " << candidate.name << ", precision " << std::string(name_of(device->activation())) << ", seed "
              << seed);
      check_close(op, output.value_or(reference->activation()), found, expected);
    }
  }
}

}  // namespace

void check_against_reference(const std::string& op, bool f32_output, const Body& body) {
  compare(op, f32_output ? std::optional(DType::f32) : std::nullopt, {}, body);
}

void check_scaled(DType format, const std::string& op, std::optional<DType> output, const Body& body) {
  compare(op, output, {{"weight", held(format)}}, body);
}

void check_int8(const std::string& op, std::optional<DType> output, const Body& body) {
  compare(op, output, {{"weight", {DType::i8}}}, body);
}

}  // namespace nervus
