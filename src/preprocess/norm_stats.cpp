#include <array>

#include "checkpoint/json.h"
#include "core/check.h"
#include "preprocess/normalize.h"

namespace nervus {
namespace {

constexpr std::array<const char*, 8> known_statistics = {"mean", "std", "q01", "q99", "q02", "q98", "min", "max"};

FeatureStatistics read_feature(const Fields& fields) {
  FeatureStatistics result;
  std::size_t length = 0;
  for (const char* name : known_statistics) {
    if (!fields.has(name)) continue;
    std::vector<double> values = fields.numbers(name);
    if (values.empty()) fields.refuse(name, "a list of numbers");
    if (length == 0) length = values.size();
    if (values.size() != length) {
      fail(ErrorKind::checkpoint, fields.where(name) + ": expected " + plural(static_cast<long long>(length), "value") +
                                      " like the feature's other statistics, found " + std::to_string(values.size()));
    }
    result.emplace(name, std::move(values));
  }
  return result;
}

NormStats read_features(const Fields& document) {
  NormStats statistics{document.file(), {}};
  const Fields features = document.object("norm_stats");
  for (const std::string& name : features.names()) {
    if (name.starts_with("observation.images")) continue;  // pixels have statistics too, of rank 3; nothing uses them
    statistics.features.emplace(name, read_feature(features.object(name)));
  }
  return statistics;
}

}  // namespace

NormStats read_norm_stats(const std::filesystem::path& path) { return read_features(Fields::read(path)); }

NormStats parse_norm_stats(std::string_view text, const std::string& source) {
  return read_features(Fields::parse(text, source));
}

}  // namespace nervus
