// Normalisation: between a robot's units and the model's range, with the statistics of norm_stats.json.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nervus {

class Fields;

// How a value x becomes the model's y; e = 1e-6.
//   identity                      y = x
//   meanstd                       y = (x - mean) / (std + e)
//   std                           y = x / (std + e)
//   bounds_99, bounds_99_woclip   y = (x - q01) / (q99 - q01 + e) 2 - 1
//   bounds_98, bounds_98_woclip   the same with q02 and q98
//   minmax                        the same with min and max
// Nothing is clipped, neither by bounds_99 nor by minmax, as in the public Normalizer (data/vla_data/transform.py);
// only that of the model's second version clamps the types without "woclip".
enum class Normalization { identity, meanstd, std, bounds_99, bounds_99_woclip, bounds_98, bounds_98_woclip, minmax };

// Throws Error(usage) for an unknown name, listing the known ones.
Normalization normalization_from_name(std::string_view name);

// Statistic ("mean", "q01", ...) -> one number a dimension.
using FeatureStatistics = std::map<std::string, std::vector<double>>;

// The statistics of a data set: feature ("action.arm.position") -> statistics.
struct NormStats {
  std::string source;  // begins every message: the file's path
  std::map<std::string, FeatureStatistics> features;
};

// Reads {"norm_stats": {feature: {statistic: [number, ...]}}}. Of a feature the statistics mean, std, q01, q99, q02,
// q98, min and max are taken, each a list of finite numbers and all of one length; other keys are left alone.
// Throws Error(io) or Error(checkpoint).
NormStats read_norm_stats(const Fields& document);

// One dimension of a feature in the statistics.
struct StatisticsColumn {
  std::string feature;
  std::size_t index = 0;
};

// y = (x - offset) / scale gain + bias, in double precision.
class Normalizer {
 public:
  // Identity over `dimensions` values.
  explicit Normalizer(std::size_t dimensions);
  // Value i uses columns[i] of the statistics. Throws Error(checkpoint) naming the file, feature and statistic that is
  // missing, too short, or gives a scale that is not positive.
  Normalizer(const NormStats& statistics, std::span<const StatisticsColumn> columns, Normalization type);

  std::size_t dimensions() const { return offset_.size(); }
  // x and y hold dimensions() values and may be the same.
  void normalize(const float* x, float* y) const;
  void unnormalize(const float* y, float* x) const;

 private:
  std::vector<double> offset_;
  std::vector<double> scale_;
  double gain_ = 1.0;
  double bias_ = 0.0;
};

}  // namespace nervus
