#include <doctest/doctest.h>

#include <cmath>

#include "checkpoint/checkpoint.h"
#include "runtime/support.h"

using namespace nervus;

TEST_CASE("a synthetic checkpoint is a function of its seed, whatever the threads") {
  test::TemporaryDirectory directory;
  synthesise(directory / "one", {.preset = "tiny", .seed = 3, .dtype = "bf16", .threads = 1});
  synthesise(directory / "three", {.preset = "tiny", .seed = 3, .dtype = "bf16", .threads = 3});
  synthesise(directory / "other", {.preset = "tiny", .seed = 4, .dtype = "bf16"});
  const std::string one = test::read_bytes(directory / "one/model.safetensors");
  CHECK(one == test::read_bytes(directory / "three/model.safetensors"));
  CHECK(one != test::read_bytes(directory / "other/model.safetensors"));
  // Known values: another machine must write the same.
  CHECK(Checkpoint::open(directory / "one").digest() == "163259c13db4a2ed");
}

TEST_CASE("outliers are channels 20 to 50 times larger than the rest") {
  test::TemporaryDirectory directory;
  synthesise(directory / "outliers", {.preset = "tiny", .seed = 1, .outliers = true});
  const Checkpoint with = Checkpoint::open(directory / "outliers"), without = Checkpoint::open(test::tiny());
  const std::string name = "model.qwenvl_with_expert.qwenvl.model.embed_tokens.weight";
  const Array a = with.read(name, DType::f32), b = without.read(name, DType::f32);
  const std::int64_t width = a.shape[1];
  int planted = 0;
  for (std::int64_t c = 0; c < width; ++c) {
    const float ratio = a.data<float>()[c] / b.data<float>()[c];
    if (ratio == 1.0f) continue;
    ++planted;
    CHECK(ratio >= 19.9f);
    CHECK(ratio <= 50.1f);
    CHECK(a.data<float>()[width + c] / b.data<float>()[width + c] == doctest::Approx(ratio));
  }
  CHECK(planted >= 4);
  CHECK(planted <= 6);
  Policy policy = Policy::load(directory / "outliers", {.precision = Precision::f32, .steps = {2}});
  const Observation observation{{{"cam_high", {2, 2, std::vector<std::uint8_t>(12, 9)}}}, {0}, "go"};
  for (const float value : policy.infer(observation).values) REQUIRE(std::isfinite(value));
}

TEST_CASE("synth refuses what it cannot make, and never writes over a checkpoint") {
  test::TemporaryDirectory directory;
  CHECK(test::error_of([&] { synthesise(directory / "a", {.preset = "huge"}); }).second ==
        "preset: expected one of tiny, lingbot-vla-4b, found 'huge'");
  CHECK(test::error_of([&] { synthesise(directory / "a", {.dtype = "int8"}); }).second ==
        "dtype: expected f32, f16 or bf16, found 'int8'");
  directory.write("config.json", "{}");
  CHECK(test::error_of([&] { synthesise(directory.path(), {}); }, directory.path()).second ==
        "DIRECTORY: expected a directory without a checkpoint, found config.json: choose another, or remove it");
  CHECK_FALSE(std::filesystem::exists(directory / "model.safetensors"));
}
