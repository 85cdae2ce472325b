#include "quant/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/file.h"
#include "checkpoint/json.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr JsonLimits recipe_limits{.bytes = std::uint64_t{1} << 20, .depth = 4, .values = 1 << 16};

bool matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {  // the last star takes one character more
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

Recipe::Rule read_rule(const Json& value, const std::string& where) {
  const Fields fields(value, where);
  for (const std::string& name : fields.names()) {
    if (name == "linears" || name == "format") continue;
    fail(ErrorKind::checkpoint, where, ": expected only linears and format, found ", in_quotes(name));
  }
  const std::string format = fields.text("format");
  Recipe::Rule rule{fields.text("linears"), std::nullopt};
  for (const DType dtype : {DType::f16, DType::e4m3, DType::i8}) {
    if (format == name_of(dtype)) rule.format = dtype;
  }
  if (!rule.format && format != "bf16") fields.refuse("format", R"("bf16", "f16", "f8_e4m3" or "i8")");
  return rule;
}

}  // namespace

Recipe parse_recipe(std::string_view text, const std::string& file) {
  const Fields fields = Fields::parse(text, file, recipe_limits);
  fields.integer("version", 1, 1);
  const Json& rules = fields.value("rules");
  if (!rules.is_array() || rules.empty()) fields.refuse("rules", "an array of at least one rule");
  Recipe recipe{.file = file};
  for (const Json& rule : rules) recipe.rules.push_back(read_rule(rule, concat(file, ": rule ", recipe.rules.size())));
  return recipe;
}

namespace {

Format e4m3_of(const std::string& linear, const Calibration* calibration) {
  if (calibration == nullptr) return {DType::e4m3, 1, 1};
  Format format{DType::e4m3, calibration->range_of(linear) / Float8::largest};
  if (const auto stream = calibration->streams.find(linear); stream != calibration->streams.end())
    format.stream = stream->second * Calibration::headroom / Float8::largest;
  return format;
}

}  // namespace

Formats formats_of(const Recipe& recipe, const std::vector<std::string>& linears, const Calibration* calibration) {
  std::map<std::string, DType> chosen;
  std::vector<bool> used(recipe.rules.size());
  for (const std::string& linear : linears) {
    std::optional<DType> format;
    for (std::size_t i = 0; i < recipe.rules.size(); ++i) {
      if (!matches(recipe.rules[i].linears, linear)) continue;
      used[i] = true;
      format = recipe.rules[i].format;
    }
    if (format) chosen[linear] = *format;
  }
  if (const auto idle = std::ranges::find(used, false); idle != used.end()) {
    const auto rule = static_cast<std::size_t>(idle - used.begin());
    fail(ErrorKind::checkpoint, recipe.file, ": rule ", rule, ": ", in_quotes(recipe.rules[rule].linears),
         " matches none of the model's ", linears.size(), " linears, which are named as their first tensors, such as ",
         in_quotes(linears.empty() ? "" : linears.front()));
  }
  Formats formats;
  for (const auto& [linear, format] : chosen) {
    if (format == DType::e4m3) formats[linear] = e4m3_of(linear, calibration);
    else formats[linear] = {format, format == DType::f16 ? float16_input_scale : 1.0f};
  }
  return formats;
}

}  // namespace nervus
