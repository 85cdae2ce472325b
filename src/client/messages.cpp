#include "client/messages.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/json.h"
#include "core/message.h"
#include "wire/msgpack.h"
#include "wire/numpy.h"

namespace nervus::client {
namespace {

using namespace wire;

constexpr std::int64_t most_actions = std::int64_t{1} << 22;  // values of a chunk

std::string text_of(const MsgpackValue& map, std::string_view name) {
  const auto value = map.find(name);
  return std::string(value ? value->text().value_or("") : "");
}

std::int64_t count_of(const MsgpackValue& map, std::string_view name) {
  const auto value = map.find(name);
  const auto number = value ? value->natural() : std::nullopt;
  return number && *number <= most_actions ? static_cast<std::int64_t>(*number) : 0;
}

std::vector<std::string> texts_of(const MsgpackValue& map, std::string_view name) {
  std::vector<std::string> texts;
  if (const auto list = map.find(name))
    for (const MsgpackValue& element : list->elements()) texts.emplace_back(element.text().value_or(""));
  return texts;
}

// {"infer_ms": 1.5} -> infer: 1.5
std::map<std::string, double> durations_of(const MsgpackValue& map, std::string_view name) {
  std::map<std::string, double> durations;
  const auto value = map.find(name);
  if (!value) return durations;
  for (const auto& [key, duration] : value->entries())
    if (key.ends_with("_ms") && duration.number())
      durations[std::string(key.substr(0, key.size() - 3))] = *duration.number();
  return durations;
}

MsgpackDocument read_map(std::string_view message, const char* what) {
  MsgpackDocument document = MsgpackDocument::read(message);
  if (document.root().kind() != MsgpackKind::map)
    fail(ErrorKind::input, what, ": expected a map, found ", name_of(document.root().kind()));
  return document;
}

ActionChunk read_chunk(const MsgpackValue& map) {
  const auto value = map.find("actions");
  if (!value) fail(ErrorKind::input, "reply: actions: expected an array, found none");
  const auto view = read_array(*value, "reply: actions");
  if (!view) fail(ErrorKind::input, "reply: actions: expected an array of numpy, found ", name_of(value->kind()));
  if (view->shape.size() != 2 || view->shape[0] < 1 || view->shape[1] < 1 || element_count(view->shape) > most_actions)
    fail(ErrorKind::input, "reply: actions: expected [steps, dimensions], at most ", most_actions, " values, found ",
         to_string(view->shape));
  Array array(view->dtype, view->shape);
  std::memcpy(array.bytes.data(), view->bytes.data(), view->bytes.size());
  return {.steps = view->shape[0], .dimensions = view->shape[1], .values = array.to_float()};
}

ErrorKind kind_of(const std::string& code) {
  if (code == "bad_request" || code == "malformed" || code == "guard_tripped") return ErrorKind::input;
  if (code == "not_finite") return ErrorKind::numeric;
  return code == "device_failed" ? ErrorKind::device : ErrorKind::io;
}

}  // namespace

std::string write_request(const Observation& observation, const ClientOptions& options, const RequestFields& fields) {
  const std::size_t choices = (options.seed ? 1 : 0) + (options.steps > 0 ? 1 : 0);
  MsgpackWriter writer;
  writer.map(5 + choices + observation.images.size());
  writer.text("request_id").text(fields.request_id);
  writer.text("observation_age_ms").real(fields.age_ms).text("deadline_ms").real(fields.deadline_ms);
  if (options.seed) writer.text("seed").natural(*options.seed);
  if (options.steps > 0) writer.text("steps").integer(options.steps);
  for (const auto& [camera, image] : observation.images) {
    if (image.width < 1 || image.height < 1 || image.rgb.size() != std::size_t{3} * image.width * image.height)
      fail(ErrorKind::input, "camera '", camera, "': expected ", image.width, " x ", image.height,
           " pixels of 3 bytes, found ", image.rgb.size(), " bytes");
    const auto key = options.keys.find(camera);
    writer.text(key == options.keys.end() ? "observation/" + camera : key->second);
    write_array(writer, {DType::u8,
                         {image.height, image.width, 3},
                         {reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()}});
  }
  writer.text("observation/state");
  write_array(writer, observation.state, {static_cast<std::int64_t>(observation.state.size())});
  writer.text("prompt").text(observation.prompt);
  return writer.take();
}

ServerInfo read_metadata(std::string_view message) {
  const MsgpackDocument document = read_map(message, "metadata");
  const MsgpackValue map = document.root();
  return {.server = text_of(map, "server"),
          .version = text_of(map, "version"),
          .family = text_of(map, "family"),
          .precision = text_of(map, "precision"),
          .robot = text_of(map, "robot"),
          .cameras = texts_of(map, "cameras"),
          .joints = texts_of(map, "joints"),
          .chunk_steps = count_of(map, "chunk_steps"),
          .state_dimensions = count_of(map, "state_dimensions"),
          .action_dimensions = count_of(map, "action_dimensions")};
}

Reply read_reply(std::string_view message, const ServerInfo& server) {
  const MsgpackDocument document = read_map(message, "reply");
  const MsgpackValue map = document.root();
  Reply read;
  if (const auto id = map.find("request_id"); id && id->text()) read.request_id = std::string(*id->text());
  ClientReply& reply = read.reply;
  reply.chunk = read_chunk(map);
  reply.chunk.timing = durations_of(map, "policy_timing");
  const auto dimensions = static_cast<std::size_t>(reply.chunk.dimensions);
  reply.chunk.names = server.joints;
  reply.chunk.names.resize(dimensions);
  reply.chunk.units.resize(dimensions);
  reply.server_ms = durations_of(map, "server_timing");
  if (const auto seed = map.find("seed")) reply.seed = seed->natural().value_or(0);
  if (const auto guard = map.find("guard")) {
    reply.clamped = count_of(*guard, "clamped");
    if (const auto excess = guard->find("max_excess")) reply.max_excess = excess->number().value_or(0);
  }
  return read;
}

Refusal read_refusal(std::string_view message) {
  constexpr std::size_t most_bytes = 512;
  try {
    const Fields error =
        Fields::parse(message, "error", {.bytes = std::uint64_t{1} << 20, .depth = 8, .values = 1024}).object("error");
    const std::string code = error.text("code");
    Refusal refusal{.error = Refused(kind_of(code), code + ": " + error.text_or("message", ""))};
    refusal.error.code = code;
    refusal.error.hint = error.text_or("hint", "");
    if (error.has("retry_after_ms")) refusal.error.retry_seconds = error.number("retry_after_ms") / 1000;
    const std::string verdict = error.text_or("verdict", "");
    if (!verdict.empty()) refusal.error.halt = verdict == "hold" ? Halt::hold : Halt::stop;
    if (error.has("request_id")) refusal.request_id = error.text("request_id");
    return refusal;
  } catch (const Error&) {
    const std::size_t end = message.find_last_not_of("\r\n ") + 1;
    const std::size_t begin = message.substr(0, end).rfind('\n') + 1;
    Refusal refusal{.error = Refused(ErrorKind::io, "the server failed: " +
                                                        shortened(message.substr(begin, end - begin), most_bytes))};
    refusal.error.code = "server_error";
    return refusal;
  }
}

}  // namespace nervus::client
