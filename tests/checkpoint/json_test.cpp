#include "checkpoint/json.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "support.h"

using namespace nervus;
using namespace nervus::test;

namespace {

const char* document = R"({
  "depth": 32, "name": "größe", "ratio": 0.5, "causal": true, "nothing": null,
  "vision_config": {"depth": "two", "blocks": [7, 15, 23, 31], "mean": [0.5, 1, -2e3], "deeper": {"x": -1}},
  "layers": ["a", "b"], "mixed": [1, "b"]
})";

template <typename Body>
std::string message_of(Body&& body) {
  const auto [kind, message] = error_of(body);
  CHECK(kind == ErrorKind::checkpoint);
  return message;
}

std::string parse_error(const std::string& text, const JsonLimits& limits = {}) {
  return message_of([&] { parse_json(text, "a.json", limits); });
}

}  // namespace

TEST_CASE("a document keeps every kind of value") {
  const Json json =
      parse_json(R"([null, true, -1, 18446744073709551615, 0.1, "\u00e4\ud83e\udd16", {"a": {}}, []])", "a");
  CHECK(json.size() == 8);
  CHECK(json[0].is_null());
  CHECK(json[1] == true);
  CHECK(json[2] == -1);
  CHECK(json[3].get<std::uint64_t>() == 18446744073709551615u);
  CHECK(json[4].get<double>() == 0.1);
  CHECK(json[5] == "ä🤖");
  CHECK(json[6]["a"].empty());
  CHECK(json[7].is_array());
  CHECK(parse_json(" 3 ", "a") == 3);
}

TEST_CASE("limits hold exactly") {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK_NOTHROW(parse_json(nested(64), "a"));
  CHECK(parse_error(nested(65)) == "a.json: expected arrays and objects at most 64 deep inside each other");
  CHECK(parse_error(std::string(1 << 20, '[')) == parse_error(nested(65)));
  CHECK_NOTHROW(parse_json("[1, 2, 3]", "a", {.values = 4}));
  CHECK(parse_error("[1, 2, 3, 4]", {.values = 4}) == "a.json: expected at most 4 JSON values");
  CHECK_NOTHROW(parse_json("[1]", "a", {.bytes = 3}));
  CHECK(parse_error("[12]", {.bytes = 3}) == "a.json: expected at most 3 bytes of JSON, found 4");
}

TEST_CASE("fields give what they hold") {
  const Fields fields = Fields::parse(document, "config.json");
  CHECK(fields.integer("depth", 1) == 32);
  CHECK(fields.integer_or("depth", 1, 40, 7) == 32);
  CHECK(fields.integer_or("width", 1, 40, 7) == 7);
  CHECK(fields.integer_or("nothing", 1, 40, 7) == 7);
  CHECK(fields.number("ratio") == 0.5);
  CHECK(fields.number("depth") == 32.0);
  CHECK(fields.number_or("scale", 2.0) == 2.0);
  CHECK(fields.boolean("causal"));
  CHECK(fields.boolean_or("gated", true));
  CHECK(fields.text("name") == "größe");
  CHECK(fields.text_or("kind", "none") == "none");
  CHECK(fields.has("depth"));
  CHECK_FALSE(fields.has("nothing"));
  CHECK_FALSE(fields.has("width"));
  CHECK(fields.names() ==
        std::vector<std::string>{"causal", "depth", "layers", "mixed", "name", "nothing", "ratio", "vision_config"});
  const Fields vision = fields.object("vision_config");
  CHECK(vision.integers("blocks", 0, 31) == std::vector<std::int64_t>{7, 15, 23, 31});
  CHECK(vision.numbers("mean") == std::vector<double>{0.5, 1, -2000});
  CHECK(vision.value("blocks").size() == 4);
  CHECK(vision.where("depth") == "config.json: field 'vision_config.depth'");
}

TEST_CASE("an object outlives the fields it was taken from") {
  const Fields deeper = [] { return Fields::parse(document, "a").object("vision_config").object("deeper"); }();
  CHECK(deeper.integer("x", -1) == -1);
}

TEST_CASE("a wrong field says where it is, what was expected and what was found") {
  const Fields fields = Fields::parse(document, "config.json");
  const Fields vision = fields.object("vision_config");
  CHECK(message_of([&] { vision.integer("depth", 1); }) ==
        "config.json: field 'vision_config.depth': expected a positive integer, found \"two\"");
  CHECK(message_of([&] { vision.object("deeper").integer("x", 0); }) ==
        "config.json: field 'vision_config.deeper.x': expected a non-negative integer, found -1");
  CHECK(message_of([&] { fields.integer("depth", 1, 31); }) ==
        "config.json: field 'depth': expected an integer from 1 to 31, found 32");
  CHECK(message_of([&] { fields.integer("ratio", 2); }) ==
        "config.json: field 'ratio': expected an integer of at least 2, found 0.5");
  CHECK(message_of([&] { fields.integer("width", 1); }) ==
        "config.json: field 'width': expected a positive integer, but it is missing");
  CHECK(message_of([&] { fields.integer("nothing", 1); }) ==
        "config.json: field 'nothing': expected a positive integer, found null");
  CHECK(message_of([&] { fields.number("causal"); }) == "config.json: field 'causal': expected a number, found true");
  CHECK(message_of([&] { fields.boolean_or("depth", true); }) ==
        "config.json: field 'depth': expected true or false, found 32");
  CHECK(message_of([&] { fields.text("layers"); }) ==
        "config.json: field 'layers': expected a string, found an array of 2");
  CHECK(message_of([&] { fields.object("name"); }) == "config.json: field 'name': expected an object, found \"größe\"");
  CHECK(message_of([&] { vision.integers("blocks", 0, 30); }) ==
        "config.json: field 'vision_config.blocks[3]': expected an integer from 0 to 30, found 31");
  CHECK(message_of([&] { fields.numbers("vision_config"); }) ==
        "config.json: field 'vision_config': expected an array, each a number, found an object");
  CHECK(message_of([&] { fields.numbers("mixed"); }) ==
        "config.json: field 'mixed[1]': expected a number, found \"b\"");
  CHECK(message_of([] { Fields::parse("[1, 2]", "a"); }) == "a: expected a JSON object, found an array of 2");
  CHECK(message_of([] { Fields::parse(R"({"a": 9223372036854775808})", "a").integer("a", 0); }) ==
        "a: field 'a': expected a non-negative integer, found 9223372036854775808");
  const std::string longest = std::string(58, 'x') + "ä" + std::string(100, 'x');
  CHECK(message_of([&] { Fields::parse("{\"a\": \"" + longest + "\"}", "a").number("a"); }) ==
        "a: field 'a': expected a number, found \"" + std::string(58, 'x') + "...");
}
