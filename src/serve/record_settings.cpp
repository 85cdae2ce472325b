#include "serve/record_settings.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "checkpoint/json.h"
#include "core/message.h"

namespace nervus::serve {
namespace {

constexpr const char* dialects[] = {"auto", "openpi", "lingbot"};
constexpr const char* time_grids[] = {"exact", "bf16-accumulated"};

template <std::size_t count>
std::size_t index_of(const Fields& fields, const char* name, const char* const (&words)[count]) {
  const std::string text = fields.text(name);
  for (std::size_t i = 0; i < count; ++i)
    if (text == words[i]) return i;
  fields.refuse(name, concat("one of ", joined(words)));
}

std::string text_of(const std::filesystem::path& path) {
  if (path.empty()) return "";
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) fail(ErrorKind::io, path.string(), ": cannot be read");
  return text.str();
}

}  // namespace

std::string write_settings(const ServeOptions& options, const PolicyInfo& info) {
  const LoadOptions& load = options.load;
  const nlohmann::ordered_json document = {{"nervus", version()},
                                           {"family", info.family},
                                           {"device", info.device},
                                           {"load",
                                            {{"robot", load.robot},
                                             {"precision", name_of(load.precision)},
                                             {"recipe", load.recipe},
                                             {"attention", name_of(load.attention)},
                                             {"steps", info.steps},
                                             {"time_grid", time_grids[static_cast<std::size_t>(load.time_grid)]},
                                             {"normalization", load.normalization}}},
                                           {"rules",
                                            {{"dialect", dialects[static_cast<std::size_t>(options.dialect)]},
                                             {"camera_names", options.cameras},
                                             {"prompt", options.prompt},
                                             {"seed", options.seed}}},
                                           {"robot_file", text_of(options.robot_file)}};
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RecordSettings read_settings(const std::string& text, const std::string& file) {
  try {
    const Fields fields =
        Fields::parse(text, file + ": settings", {.bytes = std::uint64_t{4} << 20, .depth = 8, .values = 65536});
    RecordSettings settings;
    settings.info.version = fields.text("nervus");
    settings.info.family = fields.text("family");
    settings.info.device = fields.text("device");
    settings.robot_file = fields.text("robot_file");

    const Fields load = fields.object("load");
    LoadOptions& options = settings.info.load;
    options.robot = load.text("robot");
    options.precision = precision_from(load.text("precision"));
    options.recipe = load.text("recipe");
    options.attention = attention_from(load.text("attention"));
    for (const std::int64_t steps : load.integers("steps", 1, 1000)) options.steps.push_back(static_cast<int>(steps));
    options.time_grid = static_cast<TimeGrid>(index_of(load, "time_grid", time_grids));
    options.normalization = load.text("normalization");

    const Fields rules = fields.object("rules");
    settings.rules.dialect = static_cast<Dialect>(index_of(rules, "dialect", dialects));
    const Fields names = rules.object("camera_names");
    for (const std::string& key : names.names()) settings.rules.camera_names[key] = names.text(key);
    settings.rules.prompt = rules.text("prompt");
    const Json& seed = rules.value("seed");
    if (!seed.is_number_unsigned()) rules.refuse("seed", "an integer from 0");
    settings.rules.seed = seed.get<std::uint64_t>();
    settings.rules.robot = options.robot;
    return settings;
  } catch (const Error& error) {
    // Whatever kind a field of a checkpoint would be, here it is a recording's.
    fail(ErrorKind::input, error.what());
  }
}

}  // namespace nervus::serve
