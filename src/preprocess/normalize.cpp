#include "preprocess/normalize.h"

#include <algorithm>
#include <array>

#include "checkpoint/json.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr double epsilon = 1e-6;

// A type's name and the statistics that it needs: its offset, and where its scale comes from.
struct Formula {
  const char* name;
  const char* offset;  // null: none
  const char* scale;   // null: none
  bool range;          // the scale is the distance from the offset, and the result is spread over [-1, 1]
};

// In the order of the enumeration.
constexpr std::array<Formula, 8> formulas = {{
    {"identity", nullptr, nullptr, false},
    {"meanstd", "mean", "std", false},
    {"std", nullptr, "std", false},
    {"bounds_99", "q01", "q99", true},
    {"bounds_99_woclip", "q01", "q99", true},
    {"bounds_98", "q02", "q98", true},
    {"bounds_98_woclip", "q02", "q98", true},
    {"minmax", "min", "max", true},
}};

// One value of a statistic that `needed_by` needs and of which there must be `count`.
double find_value(const NormStats& statistics, const StatisticsColumn& column, const char* statistic, std::size_t count,
                  const char* needed_by) {
  const auto feature = statistics.features.find(column.feature);
  if (feature == statistics.features.end()) {
    std::string found;
    for (const auto& [name, values] : statistics.features) found += (found.empty() ? "'" : ", '") + name + "'";
    fail(ErrorKind::checkpoint, statistics.source, ": expected feature '", column.feature, "', found ",
         found.empty() ? "none" : found);
  }
  const std::string source = concat(statistics.source, ": feature '", column.feature, "': '", statistic, "'");
  const auto values = feature->second.find(statistic);
  if (values == feature->second.end()) {
    fail(ErrorKind::checkpoint, source, " is missing, which ", needed_by, " needs");
  }
  if (values->second.size() != count) {
    fail(ErrorKind::checkpoint, source, ": expected ", plural(count, "value"), ", found ", values->second.size());
  }
  return values->second.at(column.index);
}

constexpr std::array<const char*, 8> known_statistics = {"mean", "std", "q01", "q99", "q02", "q98", "min", "max"};

FeatureStatistics read_feature(const Fields& fields) {
  FeatureStatistics result;
  std::size_t length = 0;
  for (const char* name : known_statistics) {
    if (!fields.has(name)) continue;
    const std::size_t found = (result[name] = fields.numbers(name)).size();
    if (found == 0) fields.refuse(name, "a list of numbers");
    if (length == 0) length = found;
    if (found == length) continue;
    fail(ErrorKind::checkpoint, fields.where(name), ": expected ", plural(length, "value"),
         " like the feature's other statistics, found ", found);
  }
  return result;
}

}  // namespace

NormStats read_norm_stats(const Fields& document) {
  NormStats statistics{document.file(), {}};
  const Fields features = document.object("norm_stats");
  for (const std::string& name : features.names()) {
    if (name.starts_with("observation.images")) continue;  // pixels have statistics too, of rank 3; nothing uses them
    statistics.features.emplace(name, read_feature(features.object(name)));
  }
  return statistics;
}

Normalization normalization_from_name(std::string_view name) {
  for (std::size_t i = 0; i < formulas.size(); ++i) {
    if (name == formulas[i].name) return static_cast<Normalization>(i);
  }
  fail(ErrorKind::usage, "normalisation: expected one of ", joined(formulas, [](const auto& f) { return f.name; }),
       "; found '", name, "'");
}

Normalizer::Normalizer(std::size_t dimensions) : offset_(dimensions, 0.0), scale_(dimensions, 1.0) {}

Normalizer::Normalizer(const NormStats& statistics, std::span<const StatisticsColumn> columns, Normalization type)
    : Normalizer(columns.size()) {
  const Formula& formula = formulas[static_cast<std::size_t>(type)];
  if (formula.scale == nullptr) return;
  if (formula.range) {
    gain_ = 2.0;
    bias_ = -1.0;
  }
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto count =
        static_cast<std::size_t>(std::ranges::count(columns, columns[i].feature, &StatisticsColumn::feature));
    const auto value = [&](const char* name) { return find_value(statistics, columns[i], name, count, formula.name); };
    const double scale = value(formula.scale);
    if (formula.offset != nullptr) offset_[i] = value(formula.offset);
    scale_[i] = (formula.range ? scale - offset_[i] : scale) + epsilon;
    if (scale_[i] > 0.0) continue;
    fail(ErrorKind::checkpoint, statistics.source, ": feature '", columns[i].feature, "': value ", columns[i].index,
         ": expected ", formula.range ? concat(formula.offset, " <= ", formula.scale) : "std >= 0", ", found ",
         formula.range ? std::to_string(offset_[i]) + " and " : "", std::to_string(scale));
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
