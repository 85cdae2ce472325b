#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "reference/device.h"
#include "runtime/engine.h"
#include "runtime/formats.h"
#include "runtime/support.h"

using namespace nervus;

namespace {

CalibrationReport report_of(const std::string& name, CalibrateOptions options = {}, std::size_t count = 1) {
  options.load.steps = {2};
  const Inputs inputs = test::golden_inputs(name);
  return calibrate(
      test::golden(name), count, [&](std::size_t) { return inputs; }, options);
}

// The message with which fp8 is refused on a device that has it.
std::string refusal(const LoadOptions& options) {
  return test::error_of([&] { Engine(test::golden("base"), options, make_reference_device(Precision::bf16)); },
                        test::golden("base"))
      .second;
}

std::pair<CalibrationSubject, ModelDescription> subject_of(const std::string& name) {
  const Checkpoint checkpoint = Checkpoint::open(test::golden(name));
  const Fields config = checkpoint.config_fields();
  const Family& family = family_of(config, &checkpoint);
  const ModelDescription description = family.describe(config, &checkpoint);
  return {calibration_subject(checkpoint, family, description), description};
}

}  // namespace

TEST_CASE("calibrating sees every linear, twice the same, and any number of samples") {
  const CalibrationReport one = report_of("base", {.percentile = 99.9});
  const CalibrationReport again = report_of("base", {.percentile = 99.9});
  const CalibrationReport two = report_of("base", {.percentile = 99.9}, 2);
  CHECK(one.linears.size() == subject_of("base").first.linears.size());
  CHECK(one.digest == inspect(test::golden("base")).digest);
  REQUIRE(one.linears.size() == two.linears.size());
  for (std::size_t i = 0; i < one.linears.size(); ++i) {
    const LinearRange& linear = one.linears[i];
    CHECK(linear.range == again.linears[i].range);
    CHECK(linear.range <= linear.largest);
    CHECK(static_cast<double>(linear.beyond) <= 0.001 * static_cast<double>(linear.values));
    CHECK(two.linears[i].values == 2 * linear.values);
    CHECK(two.linears[i].range == linear.range);
  }
  const CalibrationReport all = report_of("base");
  for (const LinearRange& linear : all.linears) {
    CHECK(linear.range == linear.largest);
    CHECK(linear.beyond == 0);
  }
}

TEST_CASE("calibrating sees what stands before the norms that linears read, the largest with room for four times it") {
  const CalibrationReport report = report_of("base", {.percentile = 99.9});
  std::set<std::string> read;
  for (const LinearRange& stream : report.streams) {
    read.insert(stream.linear);
    CHECK(stream.range == 4 * stream.largest);
    CHECK(stream.beyond == 0);
    CHECK(stream.values > 0);
  }
  CHECK(read.size() == report.streams.size());
  for (const LinearRange& linear : report.linears) {
    const bool reads = linear.linear.find("layers.") != std::string::npos &&
                       (linear.linear.ends_with(".q_proj") || linear.linear.ends_with(".gate_proj"));
    if (reads) CHECK_MESSAGE(read.contains(linear.linear), linear.linear);
    if (linear.linear.ends_with(".o_proj") || linear.linear.ends_with(".down_proj"))
      CHECK_MESSAGE(!read.contains(linear.linear), linear.linear);
  }
}

TEST_CASE("a check counts what is beyond the ranges of a file") {
  const test::TemporaryDirectory directory;
  CalibrationReport report = report_of("base", {.percentile = 99.9});
  write_calibration(directory / "c.json", report);
  const CalibrationReport same = report_of("base", {.check = directory / "c.json"});
  REQUIRE(same.linears.size() == report.linears.size());
  for (std::size_t i = 0; i < report.linears.size(); ++i) {
    CHECK(same.linears[i].range == report.linears[i].range);
    CHECK(same.linears[i].beyond <= report.linears[i].beyond);
  }
  REQUIRE(same.streams.size() == report.streams.size());
  for (std::size_t i = 0; i < report.streams.size(); ++i) {
    CHECK(same.streams[i].range == report.streams[i].range);
    CHECK(same.streams[i].beyond == 0);
  }
  report.linears[0].range = report.linears[0].largest / 8;
  report.streams[0].range = report.streams[0].largest / 8;
  write_calibration(directory / "c.json", report);
  const CalibrationReport checked = report_of("base", {.check = directory / "c.json"});
  CHECK(checked.linears[0].beyond > report.linears[0].beyond);
  CHECK(checked.streams[0].beyond > 0);
  CHECK(checked.streams[1].beyond == 0);
  report.streams.clear();  // as in a file of an earlier build
  write_calibration(directory / "old.json", report);
  CHECK(report_of("base", {.check = directory / "old.json"}).streams.empty());
  CHECK(refusal({.precision = Precision::fp8, .calibration = directory / "old.json"}) == "no error");
  const auto other = test::error_of([&] { report_of("causal", {.check = directory / "c.json"}); });
  CHECK(other.second.find("the digest of this checkpoint") != std::string::npos);
}

TEST_CASE("wrong options of a calibration are refused in words") {
  const auto refused = [](const CalibrateOptions& options, std::size_t count) {
    return test::error_of([&] { report_of("base", options, count); }).second;
  };
  CHECK(refused({}, 0) == "calibrate: expected at least one sample, found none");
  CHECK(refused({.percentile = 101}, 1).starts_with("percentile: expected 50 to 100, found 101"));
  CHECK(refused({.load = {.precision = Precision::fp8}}, 1) ==
        "calibrate: expected the precision f32 or bf16, found fp8, which a calibration is for");
}

TEST_CASE("fp8 is refused without products, without a calibration, and by a recipe that is none") {
  CHECK(test::error_of([] { Policy::load(test::golden("base"), {.precision = Precision::fp8}); }).second ==
        "precision 'fp8': device 'cpu' has no products of f8_e4m3, in which "
        "model.qwenvl_with_expert.qwen_expert.model.layers.0.mlp.down_proj is to be; "
        "use --precision bf16, or a device that has");
  CHECK(refusal({.precision = Precision::fp8}) ==
        "precision 'fp8': expected a calibration, the ranges of what enters each linear, found none: run `nervus "
        "calibrate --checkpoint DIRECTORY --inputs SAMPLE... --device cpu --out calibration.json`, then add "
        "--calibration calibration.json");
  CHECK(refusal({.precision = Precision::fp8, .recipe = "fp4"}) ==
        "recipe: expected f16, fp8, fp8-all, int8, int8-all, mixed or a file ending in .json, found 'fp4'");
  CHECK(refusal({.precision = Precision::bf16, .recipe = "fp8"}) ==
        "a recipe and a calibration go with the precisions f16, fp8 and int8, found bf16");
  const test::TemporaryDirectory directory;
  const auto plain = directory.write("plain.json", R"({"version": 1, "rules": [{"linears": "*", "format": "bf16"}]})");
  CHECK(refusal({.precision = Precision::fp8, .recipe = plain}) == "no error");  // needs no ranges
  CHECK(refusal({.precision = Precision::int8}) == "no error");
  CHECK(refusal({.precision = Precision::fp8, .recipe = "int8-all"}) == "no error");
  CHECK(
      refusal({.precision = Precision::int8, .recipe = "fp8"}).starts_with("precision 'int8': expected a calibration"));
}

TEST_CASE("a calibration by sites covers every linear but the patch embedding") {
  for (const char* name : {"base", "depth", "gated_batch", "joint_four_views"}) {
    const auto [subject, description] = subject_of(name);
    std::set<std::string> read;
    for (const auto& [site, linear] : description.sites) read.insert(linear);
    CHECK(read.erase("") == 1);
    for (const std::string& linear : subject.linears) {
      CHECK_MESSAGE(read.erase(linear) == (linear.ends_with("patch_embed.proj") ? 0 : 1), linear);
    }
    CHECK(read.empty());
  }
  const test::TemporaryDirectory directory;
  nlohmann::json document = {{"version", 1}, {"format", "max_abs_per_site"}, {"fp8_max", 448.0}};
  for (const auto& [site, linear] : subject_of("base").second.sites) document["stats"][site] = 3.5;
  const LoadOptions options{.precision = Precision::fp8, .calibration = directory.write("c.json", document.dump())};
  CHECK(refusal(options) == "no error");
  document["stats"].erase("vlm.layer.0.v_proj");
  directory.write("c.json", document.dump());
  CHECK(refusal(options).ends_with(
      "c.json: field 'stats.vlm.layer.0.v_proj': expected a positive finite number, but it is missing"));
}

TEST_CASE(
    "fp8 and mixed hold the expert's layers in e4m3, with the scales of what stands before their norms, and differ "
    "elsewhere") {
  const test::TemporaryDirectory directory;
  write_calibration(directory / "c.json", report_of("base"));
  const Checkpoint checkpoint = Checkpoint::open(test::golden("base"));
  const Fields config = checkpoint.config_fields();
  const Family& family = family_of(config, &checkpoint);
  for (const char* recipe : {"fp8", "mixed"}) {
    const Formats formats =
        formats_for(checkpoint, family, family.describe(config, &checkpoint),
                    {.precision = Precision::fp8, .recipe = recipe, .calibration = directory / "c.json"},
                    *make_reference_device(Precision::bf16), false);
    const std::string layer = "model.qwenvl_with_expert.qwen_expert.model.layers.0.";
    for (const char* name : {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"}) {
      const Format& format = formats.at(layer + name);
      const bool reads_norm = name == std::string("self_attn.q_proj") || name == std::string("mlp.gate_proj");
      CHECK(format.dtype == DType::e4m3);
      CHECK((format.stream > 0) == reads_norm);
    }
    const std::string language = "model.qwenvl_with_expert.qwenvl.model.layers.0.";
    const bool mixed = recipe == std::string("mixed");  // what norms feed in int8, which needs no ranges
    CHECK(formats.at(language + "self_attn.q_proj").dtype == (mixed ? DType::i8 : DType::f16));
    CHECK(formats.at(language + "mlp.gate_proj").dtype == (mixed ? DType::i8 : DType::e4m3));
    CHECK(formats.at(language + "mlp.down_proj").dtype == DType::e4m3);
    CHECK(formats.at("model.qwenvl_with_expert.qwenvl.visual.blocks.0.attn.qkv").dtype ==
          (mixed ? DType::i8 : DType::f16));
  }
}

TEST_CASE("inspect counts the linears of a recipe and what they hold") {
  const CheckpointReport bf16 = inspect(test::golden("base"), {.precision = Precision::bf16});
  const CheckpointReport f16 = inspect(test::golden("base"), {.precision = Precision::f16});
  const CheckpointReport fp8 = inspect(test::golden("base"), {.precision = Precision::fp8});
  const CheckpointReport all = inspect(test::golden("base"), {.precision = Precision::fp8, .recipe = "fp8-all"});
  CHECK(bf16.linears.size() == 1);
  CHECK(f16.linears.at("bf16") + f16.linears.at("f16") == bf16.linears.at("bf16"));
  CHECK(f16.weight_bytes == bf16.weight_bytes);
  CHECK(fp8.linears.at("bf16") < f16.linears.at("bf16"));  // the expert's, too
  CHECK(fp8.linears.at("bf16") + fp8.linears.at("f16") + fp8.linears.at("f8_e4m3") == bf16.linears.at("bf16"));
  CHECK(all.linears.at("f8_e4m3") > fp8.linears.at("f8_e4m3"));
  CHECK(all.weight_bytes < fp8.weight_bytes);
  CHECK(fp8.weight_bytes < bf16.weight_bytes);
  const CheckpointReport int8 = inspect(test::golden("base"), {.precision = Precision::int8});
  CHECK(all.linear_plan.empty());
  REQUIRE(int8.linear_plan.size() == 1);
  CHECK(int8.linear_plan[0].starts_with("vision's residual stream: rotated"));
}
