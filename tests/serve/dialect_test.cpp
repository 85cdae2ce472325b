#include "serve/dialect.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "checkpoint/support.h"
#include "nervus/policy.h"

using namespace nervus;
using namespace nervus::serve;
using nervus::test::error_of;

namespace {

using Field = std::function<void(MsgpackWriter&)>;
using Fields = std::map<std::string, Field>;

Field text(std::string value) {
  return [=](MsgpackWriter& writer) { writer.text(value); };
}
Field integer(std::int64_t value) {
  return [=](MsgpackWriter& writer) { writer.integer(value); };
}
Field real(double value) {
  return [=](MsgpackWriter& writer) { writer.real(value); };
}
Field nil() {
  return [](MsgpackWriter& writer) { writer.nil(); };
}
Field boolean(bool value) {
  return [=](MsgpackWriter& writer) { writer.boolean(value); };
}
Field list(std::vector<float> values) {
  return [=](MsgpackWriter& writer) {
    writer.array(values.size());
    for (const float value : values) writer.real(value);
  };
}
Field array(std::string dtype, std::vector<std::int64_t> shape, std::string data) {
  return [=](MsgpackWriter& writer) {
    writer.map(4).binary("__ndarray__").boolean(true).binary("data").binary(data).binary("dtype").text(dtype);
    writer.binary("shape").array(shape.size());
    for (const std::int64_t extent : shape) writer.integer(extent);
  };
}
Field pixels() { return array("|u1", {2, 1, 3}, "abcdef"); }

std::string message_of(const Fields& fields) {
  MsgpackWriter writer;
  writer.map(fields.size());
  for (const auto& [name, field] : fields) field(writer.text(name));
  return writer.take();
}

const RequestRules rules = {
    .cameras = {"cam_high", "cam_left_wrist", "cam_right_wrist"}, .robot = "aloha", .seed = 7, .steps = {10, 25}};

const Fields openpi = {{"observation/cam_high", pixels()}, {"observation/state", list({1, 2})}, {"prompt", text("go")}};
const Fields lingbot = {
    {"observation.images.cam_high", pixels()}, {"observation.state", list({1, 2})}, {"task", text("go")}};

Fields with(Fields fields, const std::string& name, Field field) {
  fields[name] = std::move(field);
  return fields;
}
Fields without(Fields fields, const std::string& name) {
  fields.erase(name);
  return fields;
}

// Reads a request whose frames are copied, since the message goes.
std::pair<Request, Observation> read(const Fields& fields, const RequestRules& with_rules = rules) {
  const std::string message = message_of(fields);
  const MsgpackDocument document = MsgpackDocument::read(message);
  const Request request = read_request(document, with_rules);
  return {request, request.reset ? Observation{} : observation_of(request)};
}

std::string said(const Fields& fields, const RequestRules& with_rules = rules) {
  const auto [kind, words] = error_of([&] { read(fields, with_rules); });
  if (words != "no error") CHECK(kind == ErrorKind::input);
  return words;
}

}  // namespace

TEST_CASE("both dialects say the same") {
  for (const Fields& fields : {openpi, lingbot}) {
    const auto [request, observation] = read(fields);
    CHECK(observation.state == std::vector<float>{1, 2});
    CHECK(observation.prompt == "go");
    REQUIRE(observation.images.size() == 1);
    const Image& image = observation.images.at("cam_high");
    CHECK(image.width == 1);
    CHECK(image.height == 2);
    CHECK(image.rgb == std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f'});
    CHECK(request.seed == 7);
    CHECK(request.steps == 10);
    CHECK(!request.deadline_ms);
    CHECK(request.dialect == (fields.contains("task") ? Dialect::lingbot : Dialect::openpi));
  }
}

TEST_CASE("a dialect that is fixed: the other one's requests are refused") {
  RequestRules fixed = rules;
  fixed.prompt = "fold";  // found missing last
  fixed.dialect = Dialect::openpi;
  CHECK(read(openpi, fixed).first.dialect == Dialect::openpi);
  const std::string no_image = "images: expected at least one of cam_high, cam_left_wrist, cam_right_wrist";
  const std::string named = "expected a camera of cam_high, cam_left_wrist, cam_right_wrist behind observation";
  const std::string hint = "; the server can be told whose this is";
  CHECK(said(lingbot, fixed) == "observation.images.cam_high: " + named + "/" + hint);
  CHECK(said({{"reset", boolean(true)}}, fixed) == no_image);
  CHECK(said(with(lingbot, "images", nil()), fixed) == "images: expected a map, found nil");
  const Fields without_image = without(lingbot, "observation.images.cam_high");
  CHECK(said(with(without_image, "observation/cam_high", pixels()), fixed) ==
        "observation/state: expected an array of numbers, found none");
  fixed.dialect = Dialect::lingbot;
  CHECK(read(lingbot, fixed).first.dialect == Dialect::lingbot);
  CHECK(read({{"reset", boolean(true)}}, fixed).first.reset);
  CHECK(said(openpi, fixed) == "observation/cam_high: " + named + "." + hint);
  CHECK(said(with(without(openpi, "observation/cam_high"), "observation.cam_high", pixels()), fixed) ==
        "observation.state: expected an array of numbers, found none");
}

TEST_CASE("the names that openpi's robots use") {
  const auto nested = [](MsgpackWriter& writer) {
    writer.map(2).text("cam_high");
    pixels()(writer);
    pixels()(writer.text("cam_left_wrist"));
  };
  CHECK(read({{"images", nested}, {"state", list({1})}, {"prompt", text("go")}}).second.images.size() == 2);
  Fields two = {{"observation/image", pixels()},
                {"observation/wrist_image", pixels()},
                {"observation/state", list({1})},
                {"prompt", text("go")}};
  CHECK(read(two).second.images.contains("cam_left_wrist"));
  two = with(without(two, "observation/image"), "observation/exterior_image_1_left", pixels());
  CHECK(said(two).starts_with("observation/exterior_image_1_left: expected a camera of cam_high, "));
  RequestRules named = rules;
  named.camera_names["observation/exterior_image_1_left"] = "cam_high";
  CHECK(read(two, named).second.images.contains("cam_high"));
}

TEST_CASE("frames of floats, with channels first, and missing ones") {
  CHECK(
      read(with(openpi, "observation/cam_high", array("|u1", {3, 2, 1}, "abcdef"))).second.images.at("cam_high").rgb ==
      std::vector<std::uint8_t>{'a', 'c', 'e', 'b', 'd', 'f'});
  const std::vector<float> values = {0, 0.5f, 1};
  const std::string bytes(reinterpret_cast<const char*>(values.data()), 12);
  CHECK(read(with(openpi, "observation/cam_high", array("<f4", {1, 1, 3}, bytes))).second.images.at("cam_high").rgb ==
        std::vector<std::uint8_t>{0, 127, 255});
  CHECK(read(with(openpi, "observation/cam_left_wrist", nil())).second.images.size() == 1);
}

TEST_CASE("what a request chooses") {
  Fields fields = with(openpi, "seed", integer(3));
  fields = with(with(fields, "steps", integer(25)), "request_id", text("a7"));
  fields = with(with(fields, "deadline_ms", real(12.5)), "observation_age_ms", integer(4));
  const Request request = read(fields).first;
  CHECK(request.seed == 3);
  CHECK(request.steps == 25);
  CHECK(request.request_id == "a7");
  CHECK(request.deadline_ms == 12.5);
  CHECK(request.age_ms == 4);
  RequestRules prompted = rules;
  prompted.prompt = "stay";
  CHECK(read(without(openpi, "prompt"), prompted).second.prompt == "stay");
}

TEST_CASE("a reset names the robot that is served, and never a path") {
  const Fields reset = {{"reset", boolean(true)}, {"robo_name", text("aloha")}};
  CHECK(read(reset).first.reset);
  CHECK(read(with(reset, "path_to_pi_model", nil())).first.reset);
  CHECK(said(with(reset, "path_to_pi_model", text("/etc"))) ==
        "path_to_pi_model: expected none: a client cannot choose what is served");
  CHECK(said(with(reset, "robo_name", text("h1"))) == "robo_name: expected 'aloha', which is served here");
  CHECK(said(with(reset, "robo_name", integer(1))) == "robo_name: expected a string, found an integer");
  CHECK(said(with(reset, "reset", integer(1))) == "reset: expected a boolean, found an integer");
  CHECK(!read(with(lingbot, "reset", boolean(false))).first.reset);
}

TEST_CASE("requests that are wrong: each has its words") {
  struct Case {
    Fields fields;
    std::string outcome;
  };
  const std::string camera = "observation/cam_high", state = "observation/state";
  const std::string rank =
      camera + ": expected [height, width, 3] or [3, height, width] of |u1, or of <f4 from 0 to 1, found ";
  for (const auto& [fields, outcome] : std::vector<Case>{
           {{},
            "request: expected keys of openpi (observation/state, prompt, ...) or of LingBot (observation.state, "
            "task, ...), found neither"},
           {without(openpi, camera), "images: expected at least one of cam_high, cam_left_wrist, cam_right_wrist"},
           {without(openpi, state), "observation/state: expected an array of numbers, found none"},
           {without(lingbot, "observation.state"), "observation.state: expected an array of numbers, found none"},
           {without(openpi, "prompt"), "prompt: expected a string, found none"},
           {without(lingbot, "task"), "task: expected a string, found none"},
           {with(openpi, "prompt", integer(1)), "prompt: expected a string, found an integer"},
           {with(openpi, "prompt", text(std::string(4097, 'a'))), "prompt: expected at most 4096 bytes, found 4097"},
           {with(openpi, state, text("x")), "observation/state: expected an array of numbers, found a string"},
           {with(openpi, state, list({})), "observation/state: expected at least one value"},
           {with(openpi, state, list({0, NAN})), "observation/state[1]: expected a finite number"},
           {with(openpi, state, list({INFINITY})), "observation/state[0]: expected a finite number"},
           {with(openpi, state, real(1e300)), "observation/state[0]: expected a finite number"},
           {with(openpi, state, array("<f4", {1}, std::string("\0\0\xc0\x7f", 4))),
            "observation/state[0]: expected a finite number"},
           {with(openpi, state, array("<f4", {2}, "1234")),
            "observation/state: expected 2 values of 4 bytes for shape [2], found 4 bytes"},
           {with(openpi, state, array("<f4", {1}, "12345")),
            "observation/state: expected 1 values of 4 bytes for shape [1], found 5 bytes"},
           {with(openpi, state, array("<f4", {-1}, "")),
            "observation/state: shape: expected integers from 0, found an integer"},
           {with(openpi, state, array("<f4", {1, 1, 1, 1, 1, 1, 1, 1, 1}, "1234")),
            "observation/state: shape: expected an array of at most 8 extents"},
           {with(openpi, state, array(">f4", {1}, "1234")),
            "observation/state: dtype: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, <u8, <i8, <f8, "
            "found '>f4'"},
           {with(openpi, state, array("|O", {1}, "1234")),
            "observation/state: dtype: expected one of |b1, |u1, |i1, <u2, <i2, <f2, <u4, <i4, <f4, <u8, <i8, <f8, "
            "found '|O'"},
           {with(openpi, state, array("|u1", {5000}, std::string(5000, 'x'))),
            "observation/state: expected at most 4096 values, found 5000"},
           {with(openpi, camera, text("x")), camera + ": expected an array of numpy, found a string"},
           {with(openpi, camera, array("|u1", {6}, "abcdef")), rank + "u8 [6]"},
           {with(openpi, camera, array("|u1", {2, 1, 4}, "abcdefgh")), rank + "u8 [2, 1, 4]"},
           {with(openpi, camera, array("|u1", {1, 2, 1, 3}, "abcdef")), rank + "u8 [1, 2, 1, 3]"},
           {with(openpi, camera, array("|u1", {0, 1, 3}, "")), rank + "u8 [0, 1, 3]"},
           {with(openpi, camera, array("|u1", {1, 20000, 3}, std::string(60000, 'x'))), rank + "u8 [1, 20000, 3]"},
           {with(openpi, camera, array("<f8", {1, 1, 3}, std::string(24, '\0'))), rank + "f64 [1, 1, 3]"},
           {with(openpi, camera, array("<f4", {1, 1, 3}, std::string("\0\0\xc0\x7f", 4) + std::string(8, '\0'))),
            "camera 'cam_high': expected floats from 0 to 1, found nan"},
           {with(openpi, "observation/images/cam_low", pixels()),
            "observation/images/cam_low: expected a camera of cam_high, cam_left_wrist, cam_right_wrist"},
           {with(openpi, "cam_left_wrist", pixels()),
            "cam_left_wrist: expected a camera of cam_high, cam_left_wrist, cam_right_wrist behind observation/; the "
            "server can be told whose this is"},
           {with(openpi, "observation/image", pixels()),
            "observation/image: expected camera 'cam_high' once, found it twice"},
           {with(openpi, "images", integer(1)), "images: expected a map, found an integer"},
           {with(openpi, "seed", integer(-1)), "seed: expected an integer from 0, found an integer"},
           {with(openpi, "seed", real(0.5)), "seed: expected an integer from 0, found a number"},
           {with(openpi, "steps", integer(11)), "steps: expected a count that is served: 10, 25"},
           {with(openpi, "deadline_ms", real(-1)), "deadline_ms: expected a number of milliseconds from 0 to 1e9"},
           {with(openpi, "deadline_ms", real(NAN)), "deadline_ms: expected a number of milliseconds from 0 to 1e9"},
           {with(openpi, "deadline_ms", text("1")), "deadline_ms: expected a number of milliseconds from 0 to 1e9"},
           {with(openpi, "observation_age_ms", real(INFINITY)),
            "observation_age_ms: expected a number of milliseconds from 0 to 1e9"},
           {with(openpi, "request_id", integer(1)), "request_id: expected a string of at most 256 bytes"},
           {with(openpi, "request_id", text(std::string(257, 'a'))),
            "request_id: expected a string of at most 256 bytes"},
       }) {
    CAPTURE(outcome);
    CHECK(said(fields) == outcome);
  }
  const std::string four = "\x94\x01\x02\x03\x04";
  const MsgpackDocument document = MsgpackDocument::read(four);
  CHECK(error_of([&] { read_request(document, rules); }).second == "request: expected a map, found an array");
}

TEST_CASE("values of numpy count as numbers") {
  const auto generic = [](MsgpackWriter& writer) {
    writer.map(3).binary("__npgeneric__").boolean(true).binary("data").real(2.5).binary("dtype").text("<f8");
  };
  const auto both = [&](MsgpackWriter& writer) {
    generic(writer.array(2));
    writer.integer(4);
  };
  CHECK(read(with(openpi, "observation/state", generic)).second.state == std::vector<float>{2.5f});
  CHECK(read(with(openpi, "observation/state", both)).second.state == std::vector<float>{2.5f, 4});
}

TEST_CASE("replies carry the actions under the dialect's name") {
  ActionChunk chunk{.steps = 2, .dimensions = 1, .values = {0.5f, -1}};
  chunk.timing["vision"] = 3;
  for (const Dialect dialect : {Dialect::openpi, Dialect::lingbot}) {
    const Request request{.dialect = dialect, .seed = 9, .request_id = "x"};
    const std::string message = write_reply(request, chunk, {.clamped = 1, .max_excess = 0.25}, {.infer_ms = 4});
    const MsgpackDocument document = MsgpackDocument::read(message);
    const MsgpackValue root = document.root();
    const auto actions = read_array(*root.find(dialect == Dialect::openpi ? "actions" : "action"), "actions");
    REQUIRE(actions);
    CHECK(actions->shape == Shape{2, 1});
    CHECK(actions->dtype == DType::f32);
    CHECK(root.find("server_timing")->find("infer_ms")->number() == 4);
    CHECK(!root.find("server_timing")->find("prev_total_ms"));
    CHECK(root.find("guard")->find("clamped")->number() == 1);
    CHECK(root.find("guard")->find("max_excess")->number() == 0.25);
    CHECK(root.find("policy_timing")->find("vision_ms")->number() == 3);
    CHECK(root.find("seed")->natural() == 9);
    CHECK(root.find("request_id")->text() == "x");
  }
  const std::string reset = write_reset_reply();
  CHECK(MsgpackDocument::read(reset).root().find("action")->kind() == MsgpackKind::nil);
  const auto refusal = nlohmann::json::parse(
      write_refusal({.code = "not_finite", .message = "m", .hint = "h", .verdict = Verdict::hold}, "x"));
  CHECK(refusal["error"]["code"] == "not_finite");
  CHECK(refusal["error"]["verdict"] == "hold");
  CHECK(refusal["error"]["request_id"] == "x");
}
