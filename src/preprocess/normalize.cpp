#include "preprocess/normalize.h"

#include <array>

#include "core/check.h"

namespace nervus {
namespace {

constexpr double epsilon = 1e-6;

// A type's name and the statistics that it needs: its offset, and where its scale comes from.
struct Formula {
  Normalization type;
  const char* name;
  const char* offset;  // null: none
  const char* scale;   // null: none
  bool range;          // the scale is the distance from the offset, and the result is spread over [-1, 1]
};

// In the order of the enumeration.
constexpr std::array<Formula, 8> formulas = {{
    {Normalization::identity, "identity", nullptr, nullptr, false},
    {Normalization::meanstd, "meanstd", "mean", "std", false},
    {Normalization::std, "std", nullptr, "std", false},
    {Normalization::bounds_99, "bounds_99", "q01", "q99", true},
    {Normalization::bounds_99_woclip, "bounds_99_woclip", "q01", "q99", true},
    {Normalization::bounds_98, "bounds_98", "q02", "q98", true},
    {Normalization::bounds_98_woclip, "bounds_98_woclip", "q02", "q98", true},
    {Normalization::minmax, "minmax", "min", "max", true},
}};

const Formula& formula_of(Normalization type) noexcept { return formulas[static_cast<std::size_t>(type)]; }

// The values of one statistic of one feature, as many as its columns.
class StatisticsReader {
 public:
  StatisticsReader(const NormStats& statistics, std::span<const StatisticsColumn> columns, Normalization type)
      : statistics_(statistics), type_(type) {
    for (const StatisticsColumn& column : columns) ++lengths_[column.feature];
  }

  double value(const StatisticsColumn& column, const char* statistic) const {
    const auto feature = statistics_.features.find(column.feature);
    if (feature == statistics_.features.end()) {
      std::string found;
      for (const auto& [name, values] : statistics_.features) found += (found.empty() ? "'" : ", '") + name + "'";
      refuse("expected feature '" + column.feature + "', found " + (found.empty() ? "none" : found));
    }
    const auto values = feature->second.find(statistic);
    if (values == feature->second.end()) {
      refuse("feature '" + column.feature + "': '" + statistic + "' is missing, which " + name_of(type_) + " needs");
    }
    const std::size_t expected = lengths_.at(column.feature);
    if (values->second.size() != expected) {
      refuse("feature '" + column.feature + "': '" + statistic + "': expected " +
             plural(static_cast<long long>(expected), "value") + ", found " + std::to_string(values->second.size()));
    }
    return values->second.at(column.index);
  }

  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorKind::checkpoint, statistics_.source + ": " + what);
  }

 private:
  const NormStats& statistics_;
  Normalization type_;
  std::map<std::string, std::size_t> lengths_;
};

}  // namespace

Normalization normalization_from_name(std::string_view name) {
  std::string known;
  for (const Formula& formula : formulas) {
    if (name == formula.name) return formula.type;
    known += (known.empty() ? "" : ", ") + std::string(formula.name);
  }
  fail(ErrorKind::usage, "normalisation: expected one of " + known + "; found '" + std::string(name) + "'");
}

const char* name_of(Normalization type) noexcept { return formula_of(type).name; }

Normalizer::Normalizer(std::size_t dimensions) : offset_(dimensions, 0.0), scale_(dimensions, 1.0) {}

Normalizer::Normalizer(const NormStats& statistics, std::span<const StatisticsColumn> columns, Normalization type)
    : Normalizer(columns.size()) {
  const Formula& formula = formula_of(type);
  if (formula.scale == nullptr) return;
  if (formula.range) {
    gain_ = 2.0;
    bias_ = -1.0;
  }
  const StatisticsReader reader(statistics, columns, type);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const double scale = reader.value(columns[i], formula.scale);
    if (formula.offset != nullptr) offset_[i] = reader.value(columns[i], formula.offset);
    scale_[i] = (formula.range ? scale - offset_[i] : scale) + epsilon;
    if (scale_[i] > 0.0) continue;
    reader.refuse("feature '" + columns[i].feature + "': value " + std::to_string(columns[i].index) + ": expected " +
                  (formula.range ? std::string(formula.offset) + " <= " + formula.scale + ", found " +
                                       std::to_string(offset_[i]) + " and " + std::to_string(scale)
                                 : "std >= 0, found " + std::to_string(scale)));
  }
}

void Normalizer::normalize(const float* x, float* y) const {
  for (std::size_t i = 0; i < dimensions(); ++i) {
    y[i] = static_cast<float>((x[i] - offset_[i]) / scale_[i] * gain_ + bias_);
  }
}

void Normalizer::unnormalize(const float* y, float* x) const {
  for (std::size_t i = 0; i < dimensions(); ++i) {
    x[i] = static_cast<float>((y[i] - bias_) / gain_ * scale_[i] + offset_[i]);
  }
}

}  // namespace nervus
