#include "checkpoint/checkpoint.h"

#include <doctest/doctest.h>

#include "support.h"

using namespace nervus;
using namespace nervus::test;

namespace {

std::map<std::string, Array> some_arrays() {
  std::vector<float> many(1000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<float>(i) / 8;
  return {{"a.weight", Array::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3})},
          {"b.bias", Array::from(std::vector<float>{0.5f}, {}).converted(DType::bf16)},
          {"c", Array::from(many, {10, 100})}};
}

void write_sharded(const TemporaryDirectory& directory, const std::map<std::string, Array>& arrays) {
  write_safetensors(directory / "model-00001.safetensors",
                    {{"a.weight", arrays.at("a.weight")}, {"c", arrays.at("c")}});
  write_safetensors(directory / "model-00002.safetensors", {{"b.bias", arrays.at("b.bias")}});
  directory.write("model.safetensors.index.json",
                  R"({"metadata": {"total_size": 4026}, "weight_map": {"a.weight": "model-00001.safetensors",
                      "c": "model-00001.safetensors", "b.bias": "model-00002.safetensors"}})");
}

}  // namespace

TEST_CASE("one file and shards are the same checkpoint") {
  const TemporaryDirectory one, many;
  const auto arrays = some_arrays();
  write_safetensors(one / "model.safetensors", arrays);
  write_sharded(many, arrays);
  const Checkpoint whole = Checkpoint::open(one.path()), sharded = Checkpoint::open(many.path());
  for (const Checkpoint* checkpoint : {&whole, &sharded}) {
    CHECK(checkpoint->names() == std::vector<std::string>{"a.weight", "b.bias", "c"});
    CHECK(checkpoint->total_bytes() == 4026);
    CHECK(checkpoint->find("a.weight")->shape == Shape{2, 3});
    CHECK(checkpoint->find("x") == nullptr);
    CHECK(checkpoint->read("a.weight", DType::f32).bytes == arrays.at("a.weight").bytes);
    CHECK(checkpoint->read("b.bias", DType::f32).to_float() == std::vector<float>{0.5f});
    CHECK(checkpoint->read("c", DType::bf16).bytes == arrays.at("c").converted(DType::bf16).bytes);
  }
  CHECK(whole.digest() == sharded.digest());
  CHECK(whole.digest().size() == 16);
  CHECK(whole.source("b.bias") == (one / "model.safetensors").string() + ": tensor 'b.bias'");
  CHECK(sharded.source("b.bias") == (many / "model-00002.safetensors").string() + ": tensor 'b.bias'");
  CHECK(sharded.source("x") == many.path().string() + ": tensor 'x'");
  const auto [kind, message] = error_of([&] { whole.read("x", DType::f32); }, one.path());
  CHECK(kind == ErrorKind::checkpoint);
  CHECK(message == "model.safetensors: tensor 'x': there is none of that name");
}

TEST_CASE("a checkpoint that was moved still reads") {
  const TemporaryDirectory directory;
  write_sharded(directory, some_arrays());
  Checkpoint first = Checkpoint::open(directory.path());
  const std::string digest = first.digest();
  const Checkpoint second = std::move(first);
  CHECK(second.digest() == digest);
  CHECK(second.read("b.bias", DType::f32).to_float() == std::vector<float>{0.5f});
}

TEST_CASE("the digest sees names, types, shapes and values") {
  const TemporaryDirectory directory;
  const auto digest = [&](const std::map<std::string, Array>& arrays) {
    write_safetensors(directory / "model.safetensors", arrays);
    return Checkpoint::open(directory.path()).digest();
  };
  const auto arrays = some_arrays();
  const std::string original = digest(arrays);
  CHECK(digest(arrays) == original);
  auto renamed = arrays;
  renamed["d"] = renamed["c"];
  renamed.erase("c");
  CHECK(digest(renamed) != original);
  auto reshaped = arrays;
  reshaped["c"].shape = {100, 10};
  CHECK(digest(reshaped) != original);
  auto changed = arrays;
  changed["a.weight"].data<float>()[5] = 7;
  CHECK(digest(changed) != original);
  auto retyped = arrays;
  retyped["a.weight"].dtype = DType::i32;
  CHECK(digest(retyped) != original);
}

TEST_CASE("config.json is read from the same directory") {
  const TemporaryDirectory directory;
  write_safetensors(directory / "model.safetensors", some_arrays());
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  const auto [kind, message] = error_of([&] { checkpoint.config_fields(); }, directory.path());
  CHECK(kind == ErrorKind::io);
  CHECK(message == "config.json: cannot be opened: No such file or directory");
  directory.write("config.json", R"({"num_steps": 10})");
  CHECK(checkpoint.config_fields().integer("num_steps", 1) == 10);
}
