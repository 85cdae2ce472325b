#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "checkpoint/file.h"
#include "core/dtype.h"
#include "core/message.h"
#include "nervus/array_file.h"
#include "nervus/policy.h"
#include "nervus/tools.h"

namespace nervus {
namespace {

// f32: the largest error over the largest value, as float32 sums in another order differ. Otherwise 1 - cosine, since
// every product rounds to 8 bits, or its factors to 11 (f16), 4 (e4m3) or 7 (int8).
constexpr double f32_tolerance = 1e-4;
constexpr double bf16_tolerance = 1e-3;
constexpr double f16_tolerance = 1e-4;
constexpr double eight_bit_tolerance = 5e-3;  // of velocities and actions
constexpr double eight_bit_prefix_tolerance = 2e-2;

using Arrays = std::map<std::string, Array>;

std::vector<int> step_counts(const Arrays& expected) {
  std::vector<int> counts;
  for (const auto& [name, array] : expected) {
    if (!name.starts_with("actions.")) continue;
    counts.push_back(std::atoi(name.c_str() + 8));
    if (counts.back() < 1 || counts.back() > 1000 || name != concat("actions.", counts.back())) {
      fail(ErrorKind::input, "expected.safetensors: tensor ", in_quotes(name),
           ": expected actions.N with N from 1 to 1000 steps");
    }
  }
  return counts;
}

std::vector<float> velocity_times(const Arrays& expected) {
  std::vector<float> times;
  for (const auto& [name, array] : expected) {
    if (name.starts_with("velocity.t")) times.push_back(std::strtof(name.c_str() + 10, nullptr));
  }
  return times;
}

// The largest error over the largest value, and the smallest cosine of a sample. Rows of padding are left out.
StageError compare(const std::string& name, const Array& found, const Array& expected, const Array* valid) {
  StageError stage{.stage = name};
  const std::vector<float> f = found.to_float(), e = expected.to_float();
  const std::int64_t batch = expected.shape[0], rows = batch * expected.shape[1];
  const std::int64_t width = rows > 0 ? static_cast<std::int64_t>(e.size()) / rows : 0;
  double largest = 0, worst = 0;
  for (std::int64_t b = 0; b < batch; ++b) {
    double dot = 0, ff = 0, ee = 0;
    for (std::int64_t r = b * rows / batch; r < (b + 1) * rows / batch; ++r) {
      if (valid != nullptr && !valid->data<std::uint8_t>()[r]) continue;
      for (std::int64_t i = r * width; i < (r + 1) * width; ++i) {
        const double error = std::abs(static_cast<double>(f[i]) - e[i]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
        largest = std::max(largest, std::abs(static_cast<double>(e[i])));
        dot += static_cast<double>(f[i]) * e[i];
        ff += static_cast<double>(f[i]) * f[i];
        ee += static_cast<double>(e[i]) * e[i];
      }
    }
    const double cosine = ff > 0 && ee > 0 ? dot / std::sqrt(ff * ee) : (ff == ee ? 1.0 : 0.0);
    stage.cosine = std::isnan(cosine) ? -1.0 : std::min(stage.cosine, cosine);
  }
  stage.error = largest > 0 ? worst / largest : (worst > 0 ? INFINITY : 0.0);
  return stage;
}

StageError judge(const std::string& name, const Arrays& found, const Arrays& expected, Precision precision) {
  const Array& wanted = expected.at(name);
  const auto trace = found.find(name);
  const auto described = [](const Array& array) { return concat(name_of(array.dtype), " ", to_string(array.shape)); };
  const bool number = is_float(wanted.dtype);
  if (trace == found.end() || trace->second.shape != wanted.shape || is_float(trace->second.dtype) != number ||
      (!number && size_of(trace->second.dtype) != size_of(wanted.dtype))) {
    fail(ErrorKind::input, "expected.safetensors: tensor ", in_quotes(name),
         ": expected one that this checkpoint has (",
         (trace == found.end() ? "no such stage" : described(trace->second)), "), found ", described(wanted));
  }
  const auto valid = expected.find("prefix.valid");
  const bool padded = name.starts_with("prefix.") && name != "prefix.valid" && valid != expected.end();
  StageError stage = compare(name, trace->second, wanted, padded ? &valid->second : nullptr);
  const bool exact = name == "prefix.valid", f32 = precision == Precision::f32;
  stage.tolerance = exact ? 0 : f32 ? f32_tolerance : precision == Precision::f16 ? f16_tolerance : bf16_tolerance;
  if ((precision == Precision::fp8 || precision == Precision::int8) && !exact)
    stage.tolerance = name.starts_with("prefix.") ? eight_bit_prefix_tolerance : eight_bit_tolerance;
  stage.passed = (exact || f32 ? stage.error : 1.0 - stage.cosine) <= stage.tolerance;
  return stage;
}

// In the order of the straight line, behind the mask that the others are compared by: embeddings, keys and values by
// layer, velocities, actions.
int rank_of(const std::string& name) {
  if (name == "prefix.valid") return 0;
  if (name == "prefix.embeddings") return 1;
  if (name.starts_with("prefix.")) return 2 + std::atoi(name.c_str() + 7);
  return name.starts_with("velocity.") ? 1 << 20 : 1 << 21;
}

}  // namespace

bool VerifyReport::passed() const {
  return std::all_of(stages.begin(), stages.end(), [](const StageError& stage) { return stage.passed; });
}

VerifyReport verify(const std::filesystem::path& directory, const std::filesystem::path& case_directory,
                    const LoadOptions& options) {
  const Inputs inputs = Inputs::load(case_directory / "inputs.safetensors");
  const Arrays expected = read_arrays(case_directory / "expected.safetensors");
  LoadOptions complete = options;
  complete.steps = step_counts(expected);
  if (inputs.noise.bytes.empty()) {
    fail(ErrorKind::input, (case_directory / "inputs.safetensors").string(),
         ": expected a case with noise, found none");
  }
  complete.limits = inputs.limits();
  Policy policy = Policy::load(directory, complete);
  const Arrays found = policy.trace(inputs, velocity_times(expected));
  VerifyReport report;
  std::vector<std::string> names;
  for (const auto& [name, array] : expected) names.push_back(name);
  std::stable_sort(names.begin(), names.end(),
                   [](const std::string& a, const std::string& b) { return rank_of(a) < rank_of(b); });
  for (const std::string& name : names) report.stages.push_back(judge(name, found, expected, options.precision));
  if (report.stages.empty()) {
    fail(ErrorKind::input, (case_directory / "expected.safetensors").string(),
         ": expected stages such as actions.10, found none");
  }
  return report;
}

}  // namespace nervus
