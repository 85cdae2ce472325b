#include "serve/dialect.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/float16.h"
#include "core/message.h"
#include "nervus/policy.h"

namespace nervus::serve {
namespace {

constexpr std::size_t most_prompt_bytes = 4096;
constexpr std::size_t most_id_bytes = 256;
constexpr std::int64_t most_pixels_a_side = 16384;

// "observation/" or "observation.": what the dialect's keys begin with.
std::string prefix_of(Dialect dialect) { return dialect == Dialect::openpi ? "observation/" : "observation."; }

Dialect detect(const MsgpackValue& map) {
  for (const auto& [key, value] : map.entries()) {
    if (key.starts_with("observation.") || key == "task" || key == "reset") return Dialect::lingbot;
    if (key.starts_with("observation/") || key == "prompt" || key == "state" || key == "images") return Dialect::openpi;
  }
  fail(ErrorKind::input,
       "request: expected keys of openpi (observation/state, prompt, ...) or of LingBot "
       "(observation.state, task, ...), found neither");
}

// The camera that a key means; empty if the key is no camera's.
std::string camera_of(std::string_view key, Dialect dialect, const RequestRules& rules) {
  if (const auto named = rules.camera_names.find(std::string(key)); named != rules.camera_names.end())
    return named->second;
  const std::string prefix = prefix_of(dialect);
  if (!key.starts_with(prefix)) return "";
  key.remove_prefix(prefix.size());
  const std::string inner = dialect == Dialect::openpi ? "images/" : "images.";
  const bool is_image = key.starts_with(inner);
  if (is_image) key.remove_prefix(inner.size());
  if (is_image || std::find(rules.cameras.begin(), rules.cameras.end(), key) != rules.cameras.end())
    return std::string(key);
  // openpi's names where a robot has one camera before it and one at its wrist.
  if (dialect == Dialect::openpi && key == "image" && !rules.cameras.empty()) return rules.cameras[0];
  if (dialect == Dialect::openpi && key == "wrist_image" && rules.cameras.size() > 1) return rules.cameras[1];
  return "";
}

void add_frame(const MsgpackValue& value, const std::string& camera, const std::string& key, const RequestRules& rules,
               Request& request) {
  if (value.kind() == MsgpackKind::nil) return;
  if (std::find(rules.cameras.begin(), rules.cameras.end(), camera) == rules.cameras.end())
    fail(ErrorKind::input, key, ": expected a camera of ", joined(rules.cameras));
  for (const Frame& frame : request.frames)
    if (frame.camera == camera) fail(ErrorKind::input, key, ": expected camera '", camera, "' once, found it twice");
  const auto pixels = read_array(value, key);
  if (!pixels) fail(ErrorKind::input, key, ": expected an array of numpy, found ", name_of(value.kind()));
  const Shape& shape = pixels->shape;
  const bool ranked = shape.size() == 3;
  const bool last = ranked && shape[2] == 3, first = ranked && shape[0] == 3 && !last;
  const bool typed = pixels->dtype == DType::u8 || pixels->dtype == DType::f32;
  if (!typed || !(last || first) || *std::min_element(shape.begin(), shape.end()) < 1 ||
      *std::max_element(shape.begin(), shape.end()) > most_pixels_a_side)
    fail(ErrorKind::input, key,
         ": expected [height, width, 3] or [3, height, width] of |u1, or of <f4 from 0 to 1, "
         "found ",
         name_of(pixels->dtype), " ", to_string(shape));
  request.frames.push_back({.camera = camera,
                            .pixels = *pixels,
                            .width = static_cast<int>(shape[last ? 1 : 2]),
                            .height = static_cast<int>(shape[last ? 0 : 1]),
                            .channels_first = first});
}

// Whether it is an array of three axes, as a frame is.
bool is_view(const MsgpackValue& value) {
  const auto shape = value.find("__ndarray__") ? value.find("shape") : std::nullopt;
  return shape && shape->kind() == MsgpackKind::array && shape->elements().size() == 3;
}

void add_frames(const MsgpackValue& map, const RequestRules& rules, Request& request) {
  for (const auto& [key, value] : map.entries()) {
    // The key is UTF-8 only where it is a string; a binary key is no camera's name that anybody could have chosen.
    if (!is_utf8(key)) continue;
    const std::string name(key);
    if (const std::string camera = camera_of(key, request.dialect, rules); !camera.empty()) {
      add_frame(value, camera, name, rules, request);
    } else if (request.dialect == Dialect::openpi && key == "images") {
      if (value.kind() != MsgpackKind::map)
        fail(ErrorKind::input, "images: expected a map, found ", name_of(value.kind()));
      for (const auto& [inner, frame] : value.entries())
        if (is_utf8(inner)) add_frame(frame, std::string(inner), concat("images.", inner), rules, request);
    } else if (is_view(value)) {
      // A camera under a name that nobody knows would otherwise be a view that is silently missing.
      fail(ErrorKind::input, name, ": expected a camera of ", joined(rules.cameras), " behind ",
           prefix_of(request.dialect), "; the server can be told whose this is");
    }
  }
  if (request.frames.empty()) fail(ErrorKind::input, "images: expected at least one of ", joined(rules.cameras));
}

void add_state(const MsgpackValue& map, Request& request) {
  std::string name = prefix_of(request.dialect) + "state";
  auto value = map.find(name);
  if (!value && request.dialect == Dialect::openpi) value = map.find(name = "state");
  if (!value) fail(ErrorKind::input, prefix_of(request.dialect), "state: expected an array of numbers, found none");
  request.state = read_numbers(*value, name);
  if (request.state.empty()) fail(ErrorKind::input, name, ": expected at least one value");
  for (std::size_t i = 0; i < request.state.size(); ++i)
    if (!std::isfinite(request.state[i])) fail(ErrorKind::input, name, "[", i, "]: expected a finite number");
}

void add_prompt(const MsgpackValue& map, const RequestRules& rules, Request& request) {
  const std::string name = request.dialect == Dialect::openpi ? "prompt" : "task";
  const auto value = map.find(name);
  if (!value) {
    if (rules.prompt.empty()) fail(ErrorKind::input, name, ": expected a string, found none");
    request.prompt = rules.prompt;
    return;
  }
  const auto text = value->text();
  if (!text) fail(ErrorKind::input, name, ": expected a string, found ", name_of(value->kind()));
  if (text->size() > most_prompt_bytes)
    fail(ErrorKind::input, name, ": expected at most ", most_prompt_bytes, " bytes, found ", text->size());
  request.prompt = *text;
}

// A number of milliseconds.
std::optional<double> read_duration(const MsgpackValue& map, const std::string& name) {
  const auto value = map.find(name);
  if (!value) return std::nullopt;
  const auto number = value->number();
  if (!number || !(*number >= 0 && *number <= 1e9))
    fail(ErrorKind::input, name, ": expected a number of milliseconds from 0 to 1e9");
  return number;
}

std::optional<std::string> id_of(const MsgpackValue& map) {
  const auto id = map.find("request_id");
  const auto text = id ? id->text() : std::nullopt;
  if (!text || text->size() > most_id_bytes) return std::nullopt;
  return std::string(*text);
}

void add_choices(const MsgpackValue& map, const RequestRules& rules, Request& request) {
  request.seed = rules.seed;
  if (const auto seed = map.find("seed")) {
    if (!seed->natural()) fail(ErrorKind::input, "seed: expected an integer from 0, found ", name_of(seed->kind()));
    request.seed = *seed->natural();
  }
  request.steps = rules.steps.empty() ? 0 : rules.steps.front();
  if (const auto steps = map.find("steps")) {
    const auto found = std::find_if(rules.steps.begin(), rules.steps.end(),
                                    [&](int known) { return steps->natural() == static_cast<std::uint64_t>(known); });
    if (found == rules.steps.end())
      fail(ErrorKind::input, "steps: expected a count that is served: ", joined(rules.steps));
    request.steps = *found;
  }
  request.age_ms = read_duration(map, "observation_age_ms").value_or(0);
  request.deadline_ms = read_duration(map, "deadline_ms");
  request.request_id = id_of(map);
  if (!request.request_id && map.find("request_id"))
    fail(ErrorKind::input, "request_id: expected a string of at most ", most_id_bytes, " bytes");
}

// A reset is answered, not run; the robot that it names must be the one that is served, and a path is refused.
bool read_reset(const MsgpackValue& map, const RequestRules& rules) {
  const auto reset = map.find("reset");
  if (!reset) return false;
  if (!reset->boolean()) fail(ErrorKind::input, "reset: expected a boolean, found ", name_of(reset->kind()));
  if (!*reset->boolean()) return false;
  const auto path = map.find("path_to_pi_model");
  if (path && path->kind() != MsgpackKind::nil)
    fail(ErrorKind::input, "path_to_pi_model: expected none: a client cannot choose what is served");
  const auto robot = map.find("robo_name");
  if (!robot || robot->kind() == MsgpackKind::nil) return true;
  if (!robot->text()) fail(ErrorKind::input, "robo_name: expected a string, found ", name_of(robot->kind()));
  if (!rules.robot.empty() && *robot->text() != rules.robot)
    fail(ErrorKind::input, "robo_name: expected '", rules.robot, "', which is served here");
  return true;
}

std::uint8_t pixel_of(float value, const Frame& frame) {
  if (!(value >= 0 && value <= 1))
    fail(ErrorKind::input, "camera '", frame.camera, "': expected floats from 0 to 1, found ", value);
  return static_cast<std::uint8_t>(value * 255);
}

}  // namespace

std::optional<std::string> read_request_id(const MsgpackDocument& document) { return id_of(document.root()); }

Request read_request(const MsgpackDocument& document, const RequestRules& rules) {
  const MsgpackValue map = document.root();
  if (map.kind() != MsgpackKind::map) fail(ErrorKind::input, "request: expected a map, found ", name_of(map.kind()));
  Request request;
  request.dialect = rules.dialect == Dialect::automatic ? detect(map) : rules.dialect;
  request.reset = request.dialect == Dialect::lingbot && read_reset(map, rules);
  if (request.reset) return request;
  add_choices(map, rules, request);
  add_frames(map, rules, request);
  add_state(map, request);
  add_prompt(map, rules, request);
  return request;
}

Observation observation_of(const Request& request) {
  Observation observation{.state = request.state, .prompt = request.prompt};
  for (const Frame& frame : request.frames) {
    Image& image = observation.images[frame.camera];
    image.width = frame.width;
    image.height = frame.height;
    const auto plane = static_cast<std::size_t>(frame.width) * frame.height;
    image.rgb.resize(3 * plane);
    const bool is_float = frame.pixels.dtype == DType::f32;
    if (!is_float && !frame.channels_first) {
      std::memcpy(image.rgb.data(), frame.pixels.bytes.data(), image.rgb.size());
      continue;
    }
    for (std::size_t i = 0; i < image.rgb.size(); ++i) {
      const std::size_t from = frame.channels_first ? i % 3 * plane + i / 3 : i;
      float value = 0;
      if (is_float) std::memcpy(&value, frame.pixels.bytes.data() + from * sizeof(float), sizeof(float));
      image.rgb[i] = is_float ? pixel_of(value, frame) : static_cast<std::uint8_t>(frame.pixels.bytes[from]);
    }
  }
  return observation;
}

std::string write_metadata(const PolicyInfo& info, const RequestRules& rules) {
  MsgpackWriter writer;
  const auto texts = [&](const char* name, const std::vector<std::string>& values) {
    writer.text(name).array(values.size());
    for (const std::string& value : values) writer.text(value);
  };
  writer.map(10).text("server").text("nervus").text("version").text(version());
  writer.text("family").text(info.family).text("precision").text(name_of(info.precision));
  writer.text("robot").text(rules.robot);
  texts("cameras", info.cameras);
  texts("joints", info.joints);
  writer.text("chunk_steps").integer(info.chunk_steps);
  writer.text("state_dimensions").integer(info.state_dimensions);
  writer.text("action_dimensions").integer(info.action_dimensions);
  return writer.take();
}

std::string write_reply(const Request& request, const ActionChunk& chunk, const GuardReport& guard,
                        const ReplyTimes& times) {
  MsgpackWriter writer;
  writer.map(request.request_id ? 6 : 5);
  writer.text(request.dialect == Dialect::lingbot ? "action" : "actions");
  write_array(writer, chunk.values, {chunk.steps, chunk.dimensions});
  writer.text("server_timing").map(times.prev_total_ms ? 3 : 2);
  writer.text("infer_ms").real(times.infer_ms).text("queue_ms").real(times.queue_ms);
  if (times.prev_total_ms) writer.text("prev_total_ms").real(*times.prev_total_ms);
  writer.text("policy_timing").map(chunk.timing.size());
  for (const auto& [stage, milliseconds] : chunk.timing) writer.text(stage + "_ms").real(milliseconds);
  writer.text("guard").map(3).text("clamped").integer(guard.clamped);
  writer.text("max_excess").real(guard.max_excess).text("tripped").boolean(!guard.passed());
  writer.text("seed").natural(request.seed);
  if (request.request_id) writer.text("request_id").text(*request.request_id);
  return writer.take();
}

std::string write_reset_reply() { return MsgpackWriter().map(1).text("action").nil().take(); }

std::string write_refusal(const Refusal& refusal, const std::optional<std::string>& request_id) {
  nlohmann::ordered_json error = {{"code", refusal.code}, {"message", refusal.message}, {"hint", refusal.hint}};
  if (refusal.retry_after_ms) error["retry_after_ms"] = *refusal.retry_after_ms;
  if (refusal.verdict) error["verdict"] = name_of(*refusal.verdict);
  if (request_id) error["request_id"] = *request_id;
  return nlohmann::ordered_json{{"error", error}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace nervus::serve
