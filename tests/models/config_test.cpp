#include "models/lingbot/config.h"

#include <doctest/doctest.h>

#include "checkpoint/support.h"

using namespace nervus;
using namespace nervus::lingbot;

namespace {

Config from_text(const std::string& text) { return read_config(Fields::parse(text, "config.json"), nullptr); }

Config golden(const std::string& name) {
  const Checkpoint checkpoint = Checkpoint::open(std::string(NERVUS_SOURCE_DIR "/tests/goldens/") + name);
  return read_config(checkpoint.config_fields(), &checkpoint);
}

}  // namespace

TEST_CASE("the policy's keys alone mean the 4B architecture") {
  const Config c = from_text(R"({"type": "lingbotvla", "max_state_dim": 75, "n_action_steps": 50})");
  CHECK(c.vision.depth == 32);
  CHECK(c.vision.width == 1280);
  CHECK(c.vision.head_size() == 80);
  CHECK(c.vision.mlp == 3420);
  CHECK(c.vision.full_blocks == std::vector<std::int64_t>{7, 15, 23, 31});
  CHECK(c.language.layers == 36);
  CHECK(c.language.width == 2048);
  CHECK(c.language.mlp == 11008);
  CHECK(c.language.head_size == 128);
  CHECK(c.expert.width == 768);
  CHECK(c.expert.mlp == 2752);
  CHECK(c.expert.heads == 16);
  CHECK(c.expert.kv_heads == 2);
  CHECK(c.vocabulary == 151936);
  CHECK(c.text_tokens == 72);
  CHECK(c.image_side == 224);
}

TEST_CASE("variants are read off the tensors and agree with the flags") {
  const Config base = golden("base");
  CHECK(base.ada_norm.weight);
  CHECK(base.ada_norm.gate == AdaNormConfig::Gate::none);
  CHECK_FALSE(base.separate_time);
  CHECK_FALSE(base.final_ada_norm);
  const Config gated = golden("gated_batch");
  CHECK_FALSE(gated.ada_norm.weight);
  CHECK(gated.ada_norm.gate == AdaNormConfig::Gate::separate);
  CHECK(gated.separate_time);
  CHECK(gated.final_ada_norm);
  CHECK(gated.final_gate);
  CHECK(golden("joint_four_views").ada_norm.gate == AdaNormConfig::Gate::joint);
  CHECK(golden("causal").causal);
  const Config depth = golden("depth");
  CHECK(depth.query_tokens == 8);
  CHECK(depth.query_rows == 64);
  CHECK(depth.image_side == 168);
}

TEST_CASE("every broken config says which field, what was expected and what was found") {
  const std::pair<const char*, const char*> table[] = {
      {R"({"vision_config": {"num_heads": 0}})",
       "config.json: field 'vision_config.num_heads': expected an integer from 1 to 1048576, found 0"},
      {R"({"vision_config": {"hidden_size": 1281}})",
       "config.json: field 'vision_config.num_heads': expected heads whose size (1281 / heads) is a multiple of 4, "
       "but it is missing"},
      {R"({"vision_config": {"depth": "two"}})",
       "config.json: field 'vision_config.depth': expected an integer from 1 to 512, found \"two\""},
      {R"({"vision_config": {"depth": 2, "fullatt_block_indexes": [2]}})",
       "config.json: field 'vision_config.fullatt_block_indexes[0]': expected an integer from 0 to 1, found 2"},
      {R"({"vision_config": {"window_size": 14}})",
       "config.json: field 'vision_config.window_size': expected at least patch_size x spatial_merge_size (28), found "
       "14"},
      {R"({"vision_config": {"in_channels": 4}})",
       "config.json: field 'vision_config.in_channels': expected 3 (red, green, blue), found 4"},
      {R"({"vision_config": {"hidden_act": "gelu"}})",
       "config.json: field 'vision_config.hidden_act': expected \"silu\", found \"gelu\""},
      {R"({"num_hidden_layers": 1000000})",
       "config.json: field 'num_hidden_layers': expected an integer from 1 to 512, found 1000000"},
      {R"({"hidden_act": "relu"})", "config.json: field 'hidden_act': expected \"silu\", found \"relu\""},
      {R"({"rms_norm_eps": 1e-05})",
       "config.json: field 'rms_norm_eps': expected 1e-06, as the public implementation has it, found 1e-05"},
      {R"({"hidden_size": 512, "num_attention_heads": 1024})",
       "config.json: field 'num_attention_heads': expected at most hidden_size (512), or a head_dim, found 1024"},
      {R"({"qwen_expert_config": {"num_attention_heads": 1024}})",
       "config.json: field 'qwen_expert_config.num_attention_heads': expected at most hidden_size (768), or a "
       "head_dim, found 1024"},
      {R"({"num_key_value_heads": 3})",
       "config.json: field 'num_key_value_heads': expected a divisor of 16 query heads, found 3"},
      {R"({"resize_imgs_with_padding": [224, 200]})",
       "config.json: field 'resize_imgs_with_padding': expected two equal multiples of 28, found an array of 2"},
      {R"({"resize_imgs_with_padding": [3640, 3640]})",
       "config.json: field 'resize_imgs_with_padding': expected at most 16384 patches of 14 pixels a side, not 260 x "
       "260, found an array of 2"},
      {R"({"num_steps": 0})", "config.json: field 'num_steps': expected an integer from 1 to 1000, found 0"},
      {R"({"n_action_steps": -1})",
       "config.json: field 'n_action_steps': expected an integer from 1 to 4096, found -1"},
      {R"({"tokenizer_max_length": 1e9})",
       "config.json: field 'tokenizer_max_length': expected an integer from 1 to 4096, found 1000000000.0"},
      {R"({"vlm_causal": "no"})", "config.json: field 'vlm_causal': expected true or false, found \"no\""},
      {R"({"qwen_expert_config": {"num_hidden_layers": 35}})",
       "config.json: field 'qwen_expert_config': expected the language model's layers, key/value heads and head size "
       "(36, 2, 128), since the expert attends to its cache; found 35, 2, 128"},
      {R"({"align_params": {"mode": "query"}})",
       "config.json: field 'align_params.num_task_tokens': expected an integer from 1 to 4096, but it is missing"},
  };
  for (const auto& [text, message] : table) {
    const auto [kind, found] = test::error_of([&] { from_text(text); });
    CHECK(kind == ErrorKind::checkpoint);
    CHECK(found == message);
  }
}

TEST_CASE("a flag that the tensors contradict is an error") {
  const Checkpoint checkpoint = Checkpoint::open(NERVUS_SOURCE_DIR "/tests/goldens/base");
  const auto error = [&](const std::string& text) {
    return test::error_of([&] { read_config(Fields::parse(text, "config.json"), &checkpoint); }).second;
  };
  CHECK(error(R"({"vision_config": {"num_heads": 2}, "num_attention_heads": 2, "split_gate_liner": true})") ==
        "config.json: field 'split_gate_liner': expected false, since the checkpoint has no tensor "
        "'model.qwenvl_with_expert.qwen_expert.model.layers.0.input_layernorm.gate.weight', found true");
  CHECK(error(R"({"vision_config": {"num_heads": 2}, "num_attention_heads": 2, "old_adanorm": false})") ==
        "config.json: field 'old_adanorm': expected true, since the checkpoint has the tensor "
        "'model.qwenvl_with_expert.qwen_expert.model.layers.0.input_layernorm.weight', found false");
  CHECK(error(R"({"vision_config": {"num_heads": 2}, "num_attention_heads": 2,
                  "align_params": {"mode": "query", "num_task_tokens": 8}})") ==
        "config.json: field 'align_params.mode': \"query\" needs the tensor 'model.depth_align_embs', found none: the "
        "depth queries cannot be invented; export the checkpoint again with them, or remove align_params if the model "
        "was trained without");
}

TEST_CASE("presets are complete configs") {
  CHECK(from_text(preset_config("lingbot-vla-4b")).language.mlp == 11008);
  CHECK(from_text(preset_config("tiny")).expert.head_size == 64);
  CHECK(preset_config("other").empty());
}
