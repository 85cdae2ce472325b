#include "quant/recipe.h"

#include <doctest/doctest.h>

#include "checkpoint/support.h"

using namespace nervus;

namespace {

const std::vector<std::string> linears = {"tower.0.qkv", "tower.0.out", "tower.1.qkv", "head"};

Formats formats(const std::string& rules, const Calibration* calibration = nullptr) {
  return formats_of(parse_recipe(R"({"version": 1, "rules": [)" + rules + "]}", "r.json"), linears, calibration);
}

std::string rule(const std::string& pattern, const std::string& format = "f8_e4m3") {
  return R"({"linears": ")" + pattern + R"(", "format": ")" + format + R"("})";
}

std::vector<std::string> names(const Formats& formats) {
  std::vector<std::string> result;
  for (const auto& [name, encoding] : formats) result.push_back(name);
  return result;
}

}  // namespace

TEST_CASE("a star stands for any characters, and the last rule that matches decides") {
  using Names = std::vector<std::string>;
  CHECK(names(formats(rule("*"))) == Names{"head", "tower.0.out", "tower.0.qkv", "tower.1.qkv"});
  CHECK(names(formats(rule("head"))) == Names{"head"});
  CHECK(names(formats(rule("tower.*.qkv"))) == Names{"tower.0.qkv", "tower.1.qkv"});
  CHECK(names(formats(rule("*0*t"))) == Names{"tower.0.out"});
  CHECK(names(formats(rule("**.1.**"))) == Names{"tower.1.qkv"});
  CHECK(names(formats(rule("tower.*") + "," + rule("*.out", "bf16"))) == Names{"tower.0.qkv", "tower.1.qkv"});
  CHECK(names(formats(rule("*.out", "bf16") + "," + rule("tower.*"))).size() == 3);
  CHECK(names(formats(rule("*", "bf16"))).empty());
}

TEST_CASE("a scale is the range over 448; of f16 always the same") {
  const Calibration calibration{.file = "c.json", .ranges = {{"head", 224.0f}}};
  CHECK(formats(rule("head"), &calibration) == Formats{{"head", {DType::e4m3, 0.5f}}});
  CHECK(formats(rule("head")) == Formats{{"head", {DType::e4m3, 1.0f, 1.0f}}});
  CHECK(formats(rule("head", "f16"), &calibration) == Formats{{"head", {DType::f16, float16_input_scale}}});
  CHECK(formats(rule("head", "i8"), &calibration) == Formats{{"head", {DType::i8, 1.0f}}});
  CHECK(test::error_of([&] { formats(rule("*qkv"), &calibration); }).second ==
        "c.json: expected the range of the linear 'tower.0.qkv', found none");
}

TEST_CASE("in e4m3 the scale of a stream before its norm has room for four times the range, where that is known") {
  const Calibration calibration{
      .file = "c.json", .ranges = {{"head", 224.0f}, {"tower.0.out", 448.0f}}, .streams = {{"head", 56.0f}}};
  CHECK(formats(rule("head") + "," + rule("*.0.out"), &calibration) ==
        Formats{{"head", {DType::e4m3, 0.5f, 0.5f}}, {"tower.0.out", {DType::e4m3, 1.0f, 0.0f}}});
  CHECK(formats(rule("head", "i8"), &calibration).at("head").stream == 0);
}

TEST_CASE("a wrong recipe is refused in words") {
  const std::string most(300, '*');
  const std::pair<std::string, std::string> table[] = {
      {"[]", "r.json: expected a JSON object, found an array of 0"},
      {"{}", "r.json: field 'version': expected an integer from 1 to 1, but it is missing"},
      {R"({"version": 2})", "r.json: field 'version': expected an integer from 1 to 1, found 2"},
      {R"({"version": 1})", "r.json: field 'rules': expected a value, but it is missing"},
      {R"({"version": 1, "rules": []})",
       "r.json: field 'rules': expected an array of at least one rule, found an array "
       "of 0"},
      {R"({"version": 1, "rules": [3]})", "r.json: rule 0: expected a JSON object, found 3"},
      {R"({"version": 1, "rules": [{"linears": "*"}]})",
       "r.json: rule 0: field 'format': expected a string, but it is missing"},
      {R"({"version": 1, "rules": [{"format": "bf16"}]})",
       "r.json: rule 0: field 'linears': expected a string, but it is missing"},
      {R"({"version": 1, "rules": [{"linears": "*", "format": "int4"}]})",
       R"(r.json: rule 0: field 'format': expected "bf16", "f16", "f8_e4m3" or "i8", found "int4")"},
      {R"({"version": 1, "rules": [{"linears": "*", "format": "bf16"}, {"pattern": "*"}]})",
       "r.json: rule 1: expected only linears and format, found 'pattern'"},
  };
  for (const auto& [text, message] : table) {
    const auto [kind, found] = test::error_of([&] { parse_recipe(text, "r.json"); });
    CHECK(kind == ErrorKind::checkpoint);
    CHECK(found == message);
  }
  CHECK(test::error_of([&] { formats(rule("*") + "," + rule("tower.*.up")); }).second ==
        "r.json: rule 1: 'tower.*.up' matches none of the model's 4 linears, which are named as their first tensors, "
        "such as 'tower.0.qkv'");
  CHECK(test::error_of([&] { formats(rule(most + "x")); }).first == ErrorKind::checkpoint);
}
