#include "models/lingbot/weights.h"

#include <doctest/doctest.h>

#include <set>

#include "checkpoint/support.h"

using namespace nervus;
using namespace nervus::lingbot;

TEST_CASE("the 4B table is the public checkpoint's: 1,555 tensors, 4.2 billion parameters") {
  const auto table = weight_table(read_config(Fields::parse("{}", "config.json"), nullptr));
  CHECK(table.size() == 1555);
  std::int64_t parameters = 0;
  std::set<std::string> names;
  for (const TensorSpec& spec : table) {
    parameters += element_count(spec.shape);
    names.insert(spec.name);
    CHECK(spec.name.starts_with("model."));
  }
  CHECK(names.size() == table.size());
  CHECK(parameters == 4'197'425'739);
}

TEST_CASE("every golden checkpoint fits its table, and nothing in it is unknown") {
  for (const char* name : {"base", "depth", "causal", "gated_batch", "joint_four_views", "odd_one_view"}) {
    CAPTURE(name);
    const Checkpoint checkpoint = Checkpoint::open(std::string(NERVUS_SOURCE_DIR "/tests/goldens/") + name);
    const Family& family = family_of(checkpoint.config_fields(), &checkpoint);
    const ModelDescription description = family.describe(checkpoint.config_fields(), &checkpoint);
    CHECK(missing_tensors(checkpoint, description).empty());
    CHECK(mismatched_tensors(checkpoint, description).empty());
    std::set<std::string> known;
    for (const TensorSpec& spec : description.tensors) known.insert(spec.name);
    for (const std::string& tensor : checkpoint.names()) {
      bool unused = false;
      for (const std::string& prefix : description.unused_prefixes) unused = unused || tensor.starts_with(prefix);
      CHECK_MESSAGE((known.contains(tensor) || unused), tensor);
    }
  }
}

TEST_CASE("faults name file, tensor, expected and found") {
  const Checkpoint checkpoint = Checkpoint::open(NERVUS_SOURCE_DIR "/tests/goldens/causal");
  Config config = read_config(checkpoint.config_fields(), &checkpoint);
  config.language.layers = 3;
  config.expert.mlp = 200;
  ModelDescription description;
  description.tensors = weight_table(config);
  const auto missing = missing_tensors(checkpoint, description);
  REQUIRE_FALSE(missing.empty());
  CHECK(
      missing[0].ends_with("model.safetensors: tensor 'model.qwenvl_with_expert.qwenvl.model.layers.2.input_layernorm."
                           "weight': expected [256], found no such tensor"));
  const auto mismatched = mismatched_tensors(checkpoint, description);
  REQUIRE(mismatched.size() == 6);
  CHECK(
      mismatched[0].ends_with("model.safetensors: tensor 'model.qwenvl_with_expert.qwen_expert.model.layers.0.mlp."
                              "gate_proj.weight': expected [200, 128], found [192, 128]"));
}

TEST_CASE("an unknown family is refused with the known ones") {
  const auto [kind, message] =
      test::error_of([] { family_of(Fields::parse(R"({"type": "pi0"})", "config.json"), nullptr); });
  CHECK(kind == ErrorKind::checkpoint);
  CHECK(message ==
        "config.json: no known model family; expected one of: lingbot-vla (the field 'type' and the tensors' names "
        "tell)");
}
