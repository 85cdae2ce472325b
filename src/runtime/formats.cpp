#include "runtime/formats.h"

#include <algorithm>

#include "backends/planning_device.h"
#include "checkpoint/file.h"
#include "core/message.h"
#include "quant/recipe.h"
#include "runtime/engine.h"

namespace nervus {
namespace {

constexpr std::uint64_t longest_recipe = std::uint64_t{1} << 20;

Recipe find_recipe(const Family& family, const LoadOptions& options) {
  const std::string name = options.recipe.empty() ? name_of(options.precision) : options.recipe;
  if (name.ends_with(".json")) return parse_recipe(read_text(name, longest_recipe), name);
  const std::string text = family.recipe(name);
  if (!text.empty()) return parse_recipe(text, "recipe '" + name + "'");
  fail(ErrorKind::usage, "recipe: expected ", joined(family.recipes), " or a file ending in .json, found '", name, "'");
}

void check_products(const Formats& formats, const Device& device, const LoadOptions& options) {
  for (const auto& [linear, encoding] : formats) {
    if (device.multiplies(encoding.dtype)) continue;
    fail(ErrorKind::unsupported, "precision '", name_of(options.precision), "': device '", options.device,
         "' has no products of ", name_of(encoding.dtype), ", in which ", linear,
         " is to be; use --precision bf16, or a device that has");
  }
}

}  // namespace

CalibrationSubject calibration_subject(const Checkpoint& checkpoint, const Family& family,
                                       const ModelDescription& description) {
  PlanningDevice device(Precision::bf16);
  family.load(checkpoint, device, {.limits = complete_limits({}, description.shape), .steps = {1}, .dry = true});
  CalibrationSubject subject{.digest = checkpoint.digest(), .sites = description.sites};
  for (const auto& [linear, dtype] : device.linears()) subject.linears.push_back(linear);
  return subject;
}

Formats formats_for(const Checkpoint& checkpoint, const Family& family, const ModelDescription& description,
                    const LoadOptions& options, const Device& device, bool dry) {
  if (!has_recipe(options.precision)) {
    if (options.recipe.empty() && options.calibration.empty()) return {};
    fail(ErrorKind::usage, "a recipe and a calibration go with the precisions f16, fp8 and int8, found ",
         name_of(options.precision));
  }
  const Recipe recipe = find_recipe(family, options);
  const CalibrationSubject subject = calibration_subject(checkpoint, family, description);
  Formats formats = formats_of(recipe, subject.linears, nullptr);
  check_products(formats, device, options);
  if (!options.calibration.empty()) {
    const Calibration calibration = read_calibration(options.calibration, subject);
    return formats_of(recipe, subject.linears, &calibration);
  }
  const bool calibrated = std::ranges::any_of(formats, [](const auto& f) { return f.second.dtype == DType::e4m3; });
  if (dry || !calibrated) return formats;
  const std::string directory = checkpoint.directory().string(), file = directory + "/calibration.json";
  fail(ErrorKind::usage, "precision '", name_of(options.precision),
       "': expected a calibration, the ranges of what enters each linear, found none: ",
       "run `nervus calibrate --checkpoint ", directory, " --inputs SAMPLE... --device ", options.device, " --out ",
       file, "`, then add --calibration ", file);
}

}  // namespace nervus
