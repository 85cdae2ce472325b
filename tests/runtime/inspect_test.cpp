#include <doctest/doctest.h>

#include "nervus/array_file.h"
#include "runtime/support.h"

using namespace nervus;

TEST_CASE("inspect tells what a checkpoint is, its work and its memory") {
  const CheckpointReport report = inspect(test::tiny(), {.precision = Precision::f32});
  CHECK(report.family == "lingbot-vla");
  CHECK(report.variants == std::vector<std::string>{"plain"});
  CHECK(report.missing.empty());
  CHECK(report.unknown.empty());
  CHECK(report.digest.size() == 16);
  CHECK(report.formats == std::map<std::string, std::int64_t>{{"f32", 195}});
  REQUIRE(report.work.size() == 3);
  CHECK(report.work[0].stage == "vision");
  CHECK(report.work[2].flops > 0);
  CHECK(report.files == std::vector<std::string>{"tokenizer.json", "norm_stats.json"});
  std::int64_t tensors = 0;
  for (const PartReport& part : report.parts) tensors += part.tensors;
  CHECK(tensors == 195);

  const Policy policy = Policy::load(test::tiny(), {.precision = Precision::f32});
  CHECK(report.workspace_bytes == policy.info().workspace_bytes);
  CHECK(static_cast<double>(report.weight_bytes) ==
        doctest::Approx(static_cast<double>(policy.info().weight_bytes)).epsilon(0.05));
  CHECK(inspect(test::tiny(), {.precision = Precision::bf16}).weight_bytes < report.weight_bytes * 6 / 10);
}

TEST_CASE("variants are named") {
  CHECK(inspect(test::golden("depth")).variants == std::vector<std::string>{"depth queries (8 a view)"});
  CHECK(inspect(test::golden("causal")).variants == std::vector<std::string>{"causal prefix"});
  CHECK(inspect(test::golden("gated_batch")).variants ==
        std::vector<std::string>{"gated AdaRMS (separate)", "AdaRMS without weight", "AdaRMS final norm",
                                 "separate time projection"});
}

TEST_CASE("what is missing, mismatched and unknown is listed, and nothing is thrown") {
  test::TemporaryDirectory directory;
  std::filesystem::copy(test::golden("causal") + "/config.json", directory / "config.json");
  auto arrays = read_arrays(test::golden("causal") + "/model.safetensors");
  arrays.erase("model.action_out_proj.bias");
  arrays["model.state_proj.bias"] = Array(DType::f32, {3});
  arrays["model.surprise"] = Array(DType::f32, {1});
  write_arrays(directory / "model.safetensors", arrays);
  const CheckpointReport report = inspect(directory.path());
  REQUIRE(report.missing.size() == 1);
  CHECK(report.missing[0].ends_with("tensor 'model.action_out_proj.bias': expected [75], found no such tensor"));
  REQUIRE(report.mismatched.size() == 1);
  CHECK(report.mismatched[0].ends_with("tensor 'model.state_proj.bias': expected [128], found [3]"));
  CHECK(report.unknown == std::vector<std::string>{"model.surprise"});
  CHECK(report.work.empty());
}
