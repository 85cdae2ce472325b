#include <doctest/doctest.h>

#include "nervus/array_file.h"
#include "runtime/support.h"

using namespace nervus;

TEST_CASE("every golden case holds in float32 at every stage") {
  for (const char* name :
       {"base", "depth", "causal", "gated_batch", "odd_one_view", "joint_four_views", "depth_causal_batch"}) {
    const VerifyReport report = verify(test::golden(name), test::golden(name), {.precision = Precision::f32});
    CHECK(report.stages.size() >= 7);
    for (const StageError& stage : report.stages) {
      CAPTURE(name);
      CAPTURE(stage.stage);
      CHECK(stage.error <= 1e-4);
      CHECK(stage.passed);
    }
  }
}

TEST_CASE("every golden case holds in bf16: actions at cosine 0.999") {
  for (const char* name : {"base", "depth", "causal", "gated_batch", "joint_four_views", "depth_causal_batch"}) {
    const VerifyReport report = verify(test::golden(name), test::golden(name), {.precision = Precision::bf16});
    CHECK(report.passed());
    CHECK(report.stages.back().stage.starts_with("actions."));
    CHECK(report.stages.back().cosine >= 0.999);
  }
}

TEST_CASE("a value that is off fails its stage and no other") {
  test::TemporaryDirectory directory;
  auto expected = read_arrays(test::golden("causal") + "/expected.safetensors");
  std::filesystem::copy(test::golden("causal") + "/inputs.safetensors", directory / "inputs.safetensors");
  float& value = expected.at("prefix.1.key").data<float>()[17];
  value += 1.0f;
  write_arrays(directory / "expected.safetensors", expected);
  const VerifyReport report = verify(test::golden("causal"), directory.path(), {.precision = Precision::f32});
  CHECK_FALSE(report.passed());
  for (const StageError& stage : report.stages) CHECK(stage.passed == (stage.stage != "prefix.1.key"));
}

TEST_CASE("a case of another checkpoint is refused in words") {
  const auto [kind, message] =
      test::error_of([] { verify(test::golden("base"), test::golden("odd_one_view"), {.precision = Precision::f32}); });
  CHECK(kind == ErrorKind::input);
  CHECK(message == "state: expected f32, f16 or bf16 [1, 75] (batch, max_state_dim), found f32 [1, 9]");
}

TEST_CASE("a case whose tensors are not the checkpoint's stages is refused, not left out") {
  test::TemporaryDirectory directory;
  std::filesystem::copy(test::golden("causal") + "/inputs.safetensors", directory / "inputs.safetensors");
  const auto whole = read_arrays(test::golden("causal") + "/expected.safetensors");
  const auto error = [&](const std::string& name, Array array) {
    auto expected = whole;
    expected[name] = std::move(array);
    write_arrays(directory / "expected.safetensors", expected);
    return test::error_of([&] { verify(test::golden("causal"), directory.path(), {.precision = Precision::f32}); });
  };
  const std::string at = "expected.safetensors: tensor ", has = ": expected one that this checkpoint has (";
  const std::tuple<const char*, Array, std::string> table[] = {
      {"actions.10", Array(DType::f32, {3750}), has + "f32 [1, 50, 75]), found f32 [3750]"},
      {"prefix.valid", Array(DType::boolean, {1}), has + "bool [1, 40]), found bool [1]"},
      {"prefix.valid", Array(DType::f32, {1, 40}), has + "bool [1, 40]), found f32 [1, 40]"},
      {"prefix.embeddings", Array(DType::i64, {1, 40, 256}), has + "f32 [1, 40, 256]), found i64 [1, 40, 256]"},
      {"notes", Array(DType::f32, {}), has + "no such stage), found f32 []"},
      {"actions.x", Array(DType::f32, {1, 50, 75}), ": expected actions.N with N from 1 to 1000 steps"},
      {"actions.1001", Array(DType::f32, {1, 50, 75}), ": expected actions.N with N from 1 to 1000 steps"},
  };
  for (const auto& [name, array, message] : table) {
    const auto [kind, found] = error(name, array);
    CHECK(kind == ErrorKind::input);
    CHECK(found == at + "'" + name + "'" + message);
  }
}
