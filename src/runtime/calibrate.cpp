// What enters each linear, over samples; the files that say so are quant's.
#include <algorithm>

#include "core/message.h"
#include "nervus/tools.h"
#include "quant/input_observer.h"
#include "runtime/engine.h"
#include "runtime/formats.h"
#include "runtime/observation_inputs.h"

namespace nervus {
namespace {

void check_options(const CalibrateOptions& options, std::size_t count) {
  if (has_recipe(options.load.precision)) {
    fail(ErrorKind::usage, "calibrate: expected the precision f32 or bf16, found ", name_of(options.load.precision),
         ", which a calibration is for");
  }
  if (!(options.percentile >= 50 && options.percentile <= 100)) {
    fail(ErrorKind::usage, "percentile: expected 50 to 100, found ", options.percentile);
  }
  if (count == 0) fail(ErrorKind::usage, "calibrate: expected at least one sample, found none");
}

// The least limits that hold every sample; an observation needs the checkpoint's own.
Limits limits_of(std::size_t count, const std::function<Sample(std::size_t)>& sample, const ModelShape& shape) {
  Limits limits{.batch = 1, .views = 1, .patches = 1, .text_tokens = 1};
  for (std::size_t i = 0; i < count; ++i) {
    const Sample one = sample(i);
    const auto* inputs = std::get_if<Inputs>(&one);
    const Limits own = complete_limits(inputs ? inputs->limits() : Limits{}, shape);
    limits = {std::max(limits.batch, own.batch), std::max(limits.views, own.views),
              std::max(limits.patches, own.patches), std::max(limits.text_tokens, own.text_tokens)};
  }
  return limits;
}

LinearRange range_of(const std::string& linear, const InputStatistics& seen, double percentile) {
  LinearRange result{linear, seen.limit, seen.largest, seen.count, seen.beyond};
  if (seen.limit > 0) return result;
  const float range = seen.percentile(percentile);
  result.range = range > 0 ? range : 1.0;  // of nothing but zeros any range is right
  result.beyond = seen.above(range);
  return result;
}

// The same before a norm: with headroom, of the largest.
LinearRange stream_range_of(const std::string& linear, const InputStatistics& seen) {
  LinearRange result = range_of(linear, seen, 100);
  if (seen.limit == 0) result.range *= Calibration::headroom;
  return result;
}

}  // namespace

CalibrationReport calibrate(const std::filesystem::path& directory, std::size_t count,
                            const std::function<Sample(std::size_t)>& sample, const CalibrateOptions& options) {
  check_options(options, count);
  const Checkpoint checkpoint = Checkpoint::open(directory);
  const Fields config = checkpoint.config_fields();
  const Family& family = family_of(config, &checkpoint);
  const ModelDescription description = family.describe(config, &checkpoint);
  check_tensors(checkpoint, description);
  const CalibrationSubject subject = calibration_subject(checkpoint, family, description);
  CalibrationReport report{subject.digest, static_cast<std::int64_t>(count), options.percentile, {}, {}};
  Calibration known;
  if (!options.check.empty()) {
    known = read_calibration(options.check, subject);
    report.percentile = known.percentile;
    for (auto& [linear, range] : known.streams) range *= Calibration::headroom;
  }
  LoadOptions load = options.load;
  load.limits = limits_of(count, sample, description.shape);
  std::optional<ObservationInputs> observations;
  Engine engine(directory, load, open_device(load, false), false,
                [&](const Checkpoint& opened, const ModelShape& shape, const Limits& limits, Device& device) {
                  observations.emplace(opened, shape, limits, load, device.crew());
                });
  InputObserver observer(engine.device(), known.ranges, known.streams);
  for (std::size_t i = 0; i < count; ++i) {
    const Sample one = sample(i);
    const auto* inputs = std::get_if<Inputs>(&one);
    engine.upload(inputs ? *inputs : observations->preprocess({&std::get<Observation>(one), 1}, false), {.seed = i});
    for (std::size_t schedule = 0; schedule < engine.steps().size(); ++schedule) {
      engine.observe(schedule, observer, [](const char*) {});
    }
    if (options.progress) {
      options.progress(static_cast<std::int64_t>(i + 1), report.samples, concat("sample ", i + 1, " of ", count));
    }
  }
  for (const auto& [linear, seen] : observer.linears()) {
    if (options.check.empty() || seen.limit > 0) report.linears.push_back(range_of(linear, seen, options.percentile));
  }
  for (const auto& [linear, seen] : observer.streams()) {
    if (options.check.empty() || seen.limit > 0) report.streams.push_back(stream_range_of(linear, seen));
  }
  return report;
}

void write_calibration(const std::filesystem::path& path, const CalibrationReport& report) {
  Calibration calibration{.samples = report.samples, .percentile = report.percentile};
  for (const LinearRange& linear : report.linears) calibration.ranges[linear.linear] = static_cast<float>(linear.range);
  for (const LinearRange& stream : report.streams)
    calibration.streams[stream.linear] = static_cast<float>(stream.range) / Calibration::headroom;
  write_calibration(path, calibration, report.digest);
}

}  // namespace nervus
