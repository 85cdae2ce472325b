#include "cli/observation.h"

#include <cmath>

#include "cli/options.h"
#include "cli/output.h"
#include "nervus/error.h"
#include "nervus/image_file.h"

namespace nervus::cli {
namespace {

constexpr std::uintmax_t text_limit = 1u << 20;  // of a state's file

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorKind::input, path.string() + ": " + what);
}

StateFile state_of_json(const std::filesystem::path& path) {
  StateFile state;
  const Json document = Json::parse(read_text(path, text_limit), nullptr, false);
  if (document.is_discarded()) refuse(path, "is not valid JSON");
  const Json* values = &document;
  if (document.is_object()) {
    const char* field = document.contains("state") ? "state" : "values";
    if (!document.contains(field)) refuse(path, "expected a field 'state' with a list of numbers");
    values = &document[field];
    if (document.contains("names")) {
      for (const Json& name : document["names"])
        if (name.is_string()) state.names.push_back(name.get<std::string>());
      if (!document["names"].is_array() || state.names.size() != values->size())
        refuse(path, "field 'names': expected a list of one text for each value");
    }
  }
  if (!values->is_array()) refuse(path, "expected a list of numbers, found " + one_line(values->dump()).substr(0, 40));
  for (const Json& value : *values) {
    if (!value.is_number())
      refuse(path, "value " + std::to_string(state.values.size()) + ": expected a number, found " +
                       one_line(value.dump()).substr(0, 40));
    state.values.push_back(static_cast<float>(value.get<double>()));
  }
  return state;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ',' || c == ';' || std::isspace(static_cast<unsigned char>(c)) != 0) words.emplace_back();
    else words.back() += c;
  }
  std::erase(words, "");
  return words;
}

std::optional<float> value_of(const std::string& word) { return number_of<float>(word.substr(word.starts_with("+"))); }

StateFile state_of_text(const std::filesystem::path& path, bool may_have_names) {
  StateFile state;
  std::string text = read_text(path, text_limit);
  const std::string first_line = text.substr(0, text.find('\n'));
  const std::vector<std::string> heading = words_of(first_line);
  if (may_have_names && !heading.empty() && !value_of(heading.front())) {
    state.names = heading;
    text.erase(0, first_line.size());
  }
  for (const std::string& word : words_of(text)) {
    const std::optional<float> value = value_of(word);
    if (!value)
      refuse(path, "value " + std::to_string(state.values.size()) + ": expected a number, found '" +
                       word.substr(0, 40) + "'");
    state.values.push_back(*value);
  }
  if (!state.names.empty() && state.names.size() != state.values.size())
    refuse(path, "expected one value for each of " + std::to_string(state.names.size()) + " names, found " +
                     std::to_string(state.values.size()));
  return state;
}

// The file of that name with one of the endings; empty if there is none.
std::filesystem::path find_file(const std::filesystem::path& directory, const std::string& name,
                                std::initializer_list<const char*> endings) {
  for (const char* ending : endings) {
    std::filesystem::path path = directory / (name + ending);
    std::error_code unknown;
    if (std::filesystem::exists(path, unknown)) return path;
  }
  return {};
}

}  // namespace

StateFile read_state(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  StateFile state;
  if (ending == ".json") state = state_of_json(path);
  else if (ending == ".csv" || ending == ".txt") state = state_of_text(path, ending == ".csv");
  else if (ending == ".npy") state.values = read_one_array(path, "state").to_float();
  else refuse(path, "expected a state file ending in .json, .npy, .csv or .txt");
  if (state.values.empty()) refuse(path, "holds no values");
  for (std::size_t i = 0; i < state.values.size(); ++i)
    if (!std::isfinite(state.values[i])) refuse(path, "value " + std::to_string(i) + ": is not finite");
  return state;
}

void add_image(Observation& observation, const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == argument.size())
    throw Error(ErrorKind::usage, "--image: expected CAMERA=FILE, such as cam_high=high.png, found '" + argument + "'");
  const std::string camera = argument.substr(0, equals);
  const std::filesystem::path path = argument.substr(equals + 1);
  if (observation.images.contains(camera)) throw Error(ErrorKind::usage, "--image: " + camera + " is given twice");
  observation.images[camera] =
      path.extension() == ".npy" ? image_from_array(read_one_array(path, "image"), path.string()) : read_image(path);
}

Observation read_observation(const std::filesystem::path& directory) {
  Observation observation;
  for (const char* camera : {"cam_high", "cam_left_wrist", "cam_right_wrist"}) {
    const std::filesystem::path image = find_file(directory, camera, {".png", ".jpg", ".jpeg", ".npy"});
    if (!image.empty()) add_image(observation, std::string(camera) + "=" + image.string());
  }
  const std::filesystem::path state = find_file(directory, "state", {".json", ".npy", ".csv", ".txt"});
  const std::filesystem::path prompt = find_file(directory, "prompt", {".txt"});
  if (observation.images.empty()) refuse(directory, "expected at least one image, such as cam_high.png, found none");
  if (state.empty()) refuse(directory, "expected state.json, .npy, .csv or .txt, found none");
  if (prompt.empty()) refuse(directory, "expected prompt.txt, found none");
  observation.state = read_state(state).values;
  observation.prompt = read_text(prompt, text_limit);
  return observation;
}

}  // namespace nervus::cli
