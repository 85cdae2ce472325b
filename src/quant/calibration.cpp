#include "quant/calibration.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "checkpoint/file.h"
#include "checkpoint/json.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr JsonLimits calibration_limits{.bytes = std::uint64_t{4} << 20, .depth = 4, .values = 1 << 17};
constexpr const char* own_format = "range_per_linear";
constexpr const char* site_format = "max_abs_per_site";

// A number that is a range: its scale must be a normal float32 too.
float range(const Fields& fields, const std::string& name) {
  const auto value = static_cast<float>(fields.number(name));
  if (!(value > 0) || !std::isnormal(value / 1024)) fields.refuse(name, "a positive finite number");
  return value;
}

std::map<std::string, float> read_ranges(const Fields& fields, const CalibrationSubject& subject) {
  std::map<std::string, float> ranges;
  for (const std::string& name : fields.names()) {
    if (std::ranges::find(subject.linears, name) == subject.linears.end()) {
      fail(ErrorKind::checkpoint, fields.where(name), ": the model has no such linear");
    }
    ranges[name] = range(fields, name);
  }
  return ranges;
}

void read_linears(const Fields& fields, const CalibrationSubject& subject, Calibration& calibration) {
  if (const std::string digest = fields.text("checkpoint"); digest != subject.digest) {
    fail(ErrorKind::checkpoint, fields.where("checkpoint"), ": expected ", subject.digest,
         ", the digest of this checkpoint, found ", in_quotes(digest),
         ": it was made for another one; run `nervus calibrate` for this");
  }
  calibration.samples = fields.integer("samples", 1);
  calibration.percentile = fields.number("percentile");
  if (!(calibration.percentile > 0 && calibration.percentile <= 100)) fields.refuse("percentile", "0 to 100");
  calibration.ranges = read_ranges(fields.object("linears"), subject);
  if (fields.has("streams")) calibration.streams = read_ranges(fields.object("streams"), subject);
  for (const std::string& linear : subject.linears) calibration.range_of(linear);
}

void read_sites(const Fields& fields, const CalibrationSubject& subject, Calibration& calibration) {
  range(fields, "fp8_max");
  const Fields stats = fields.object("stats");
  std::map<std::string, std::string> missing = subject.sites;
  for (const std::string& name : stats.names()) {
    std::string site = name;  // "vit.block.0.mlp.up_proj" is also written without "mlp."
    const std::size_t mlp = site.starts_with("vit.block.") ? site.find(".mlp.") : std::string::npos;
    if (mlp != std::string::npos) site.erase(mlp, 4);
    const auto known = subject.sites.find(site);
    if (known == subject.sites.end()) {
      fail(ErrorKind::checkpoint, stats.where(name), ": the model has no such site");
    }
    const float value = range(stats, name);
    missing.erase(site);
    if (known->second.empty()) continue;
    float& largest = calibration.ranges[known->second];
    largest = std::max(largest, value);
  }
  for (const auto& [site, linear] : missing) {
    if (!linear.empty()) stats.refuse(site, "a positive finite number");
  }
}

}  // namespace

float Calibration::range_of(const std::string& linear) const {
  const auto place = ranges.find(linear);
  if (place != ranges.end()) return place->second;
  fail(ErrorKind::checkpoint, file, ": expected the range of the linear ", in_quotes(linear), ", found none");
}

Calibration parse_calibration(std::string_view text, const std::string& file, const CalibrationSubject& subject) {
  const Fields fields = Fields::parse(text, file, calibration_limits);
  const std::string format = fields.text("format");
  if (format != own_format && format != site_format) {
    fields.refuse("format", concat('"', own_format, "\" or \"", site_format, '"'));
  }
  fields.integer("version", 1, 1);
  Calibration calibration{.file = file};
  (format == own_format ? read_linears : read_sites)(fields, subject, calibration);
  return calibration;
}

Calibration read_calibration(const std::filesystem::path& path, const CalibrationSubject& subject) {
  return parse_calibration(read_text(path, calibration_limits.bytes), path.string(), subject);
}

void write_calibration(const std::filesystem::path& path, const Calibration& calibration, const std::string& digest) {
  nlohmann::ordered_json document = {{"version", 1},
                                     {"format", own_format},
                                     {"checkpoint", digest},
                                     {"samples", calibration.samples},
                                     {"percentile", calibration.percentile},
                                     {"linears", calibration.ranges}};
  if (!calibration.streams.empty()) document["streams"] = calibration.streams;
  const std::string text = document.dump(2) + "\n";
  OutputFile file(path);
  file.write(text.data(), text.size());
  file.finish();
}

}  // namespace nervus
