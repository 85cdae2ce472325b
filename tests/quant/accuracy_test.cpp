// What 8-bit linears cost in accuracy, on the reference device: cosines of each stage against float32.
#include <doctest/doctest.h>

#include <cmath>

#include "nervus/array_file.h"
#include "reference/device.h"
#include "runtime/engine.h"
#include "runtime/support.h"

using namespace nervus;

namespace {

using Arrays = std::map<std::string, Array>;

double cosine(const Array& a, const Array& b) {
  const std::vector<float> x = a.to_float(), y = b.to_float();
  REQUIRE(x.size() == y.size());
  double dot = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    dot += static_cast<double>(x[i]) * y[i];
    xx += static_cast<double>(x[i]) * x[i];
    yy += static_cast<double>(y[i]) * y[i];
  }
  return dot / std::sqrt(xx * yy);
}

Arrays trace(const std::filesystem::path& directory, const Inputs& inputs, LoadOptions options,
             std::unique_ptr<Device> device) {
  options.limits = test::limits_of(inputs);
  options.steps = {2};
  Engine engine(directory, options, std::move(device));
  engine.upload(inputs, {});
  engine.run(0, false);
  Arrays arrays = engine.model().trace_prefix(engine.device());
  arrays["actions"] = engine.actions();
  return arrays;
}

// Smallest cosine of the embeddings (vision), of keys and values (prefix), and of the actions.
struct Cosines {
  double vision = 1, prefix = 1, actions = 1;
};

Cosines worst_of(const Arrays& exact, const Arrays& found) {
  Cosines worst;
  for (const auto& [name, array] : exact) {
    if (name == "prefix.valid") continue;
    double& cosine_of_stage = name == "actions"             ? worst.actions
                              : name == "prefix.embeddings" ? worst.vision
                                                            : worst.prefix;
    cosine_of_stage = std::min(cosine_of_stage, cosine(found.at(name), array));
  }
  return worst;
}

Cosines measure(const std::filesystem::path& directory, const Inputs& inputs, const std::string& recipe) {
  const test::TemporaryDirectory scratch;
  CalibrateOptions calibrating;
  calibrating.load.precision = Precision::f32;
  calibrating.load.steps = {2};
  write_calibration(scratch / "c.json", calibrate(
                                            directory, 1, [&](std::size_t) { return inputs; }, calibrating));
  const Arrays exact = trace(directory, inputs, {.precision = Precision::f32}, make_cpu_device(Precision::f32, 0));
  const Arrays found =
      trace(directory, inputs, {.precision = Precision::fp8, .recipe = recipe, .calibration = scratch / "c.json"},
            make_reference_device(Precision::bf16));
  const Cosines worst = worst_of(exact, found);
  MESSAGE(directory.filename().string(), " ", recipe, ": 1 - cosine vision ", 1 - worst.vision, ", prefix ",
          1 - worst.prefix, ", actions ", 1 - worst.actions);
  return worst;
}

// The CPU in float32, which says of every format that it has its products, and makes linears in float32 all the same:
// a model for it is laid out as for int8, and differs from another by the rounding of float32 alone.
class PretendingDevice final : public Device {
 public:
  PretendingDevice() : Device(3) {}
  std::string description() const override { return "pretending"; }
  Kernels& kernels() override { return inner_->kernels(); }
  DType activation() const override { return inner_->activation(); }
  bool multiplies(DType) const override { return true; }
  Linear make_linear(const LinearSource& source) override { return inner_->make_linear(source); }
  void* allocate(std::int64_t bytes) override { return inner_->allocate(bytes); }
  void upload(const Tensor& target, const void* source) override { inner_->upload(target, source); }
  void download(void* target, const Tensor& source) override { inner_->download(target, source); }
  std::int64_t memory() const override { return inner_->memory(); }

 private:
  std::unique_ptr<Device> inner_ = make_cpu_device(Precision::f32, 0);
};

double largest_error(const Array& found, const Array& exact) {
  const std::vector<float> f = found.to_float(), e = exact.to_float();
  REQUIRE(f.size() == e.size());
  double error = 0, largest = 0;
  for (std::size_t i = 0; i < e.size(); ++i) {
    error = std::max(error, std::abs(static_cast<double>(f[i]) - e[i]));
    largest = std::max(largest, std::abs(static_cast<double>(e[i])));
  }
  return error / largest;
}

}  // namespace

TEST_CASE("a vision stream that is rotated for int8 gives the same answers but for float32's rounding") {
  for (const char* name : {"base", "gated_batch", "odd_one_view"}) {
    const std::string directory = test::golden(name);
    const Inputs inputs = test::golden_inputs(name);
    CAPTURE(directory);
    const auto traced = [&](const std::string& recipe) {
      auto device = std::make_unique<PretendingDevice>();
      if (recipe.empty()) return trace(directory, inputs, {.precision = Precision::f32}, std::move(device));
      return trace(directory, inputs, {.precision = Precision::int8, .recipe = recipe}, std::move(device));
    };
    const Arrays exact = traced(""), rotated = traced("int8"), halves = traced("f16");
    CHECK(rotated.at("prefix.embeddings").bytes != exact.at("prefix.embeddings").bytes);
    CHECK(halves.at("prefix.embeddings").bytes == exact.at("prefix.embeddings").bytes);
    CHECK(halves.at("actions").bytes == exact.at("actions").bytes);
    for (const auto& [stage, array] : exact) {
      CAPTURE(stage);
      if (stage != "prefix.valid") CHECK(largest_error(rotated.at(stage), array) < 2e-5);
    }
  }
}

TEST_CASE("8 bits keep the reference cases' stages close to float32, int8 closer than e4m3") {
  for (const char* name : {"base", "gated_batch"}) {
    const Cosines fp8 = measure(test::golden(name), test::golden_inputs(name), "fp8-all");
    CHECK(fp8.vision > 0.995);
    CHECK(fp8.prefix > 0.99);
    CHECK(fp8.actions > 0.999);
    CHECK(fp8.vision < 0.99999);
    const Cosines int8 = measure(test::golden(name), test::golden_inputs(name), "int8-all");
    CHECK(int8.vision > fp8.vision);
    CHECK(int8.prefix > fp8.prefix);
    CHECK(int8.actions > 0.9999);
    CHECK(int8.vision < 0.99999);
    const Cosines some = measure(test::golden(name), test::golden_inputs(name), "fp8");
    CHECK(some.vision > fp8.vision);
    CHECK(some.prefix > fp8.prefix);
    CHECK(some.actions > 0.999);
  }
}

TEST_CASE("f16 in vision and language is several times closer to float32 than bf16") {
  for (const char* name : {"base", "depth_causal_batch"}) {
    const std::string directory = test::golden(name);
    const Inputs inputs = test::golden_inputs(name);
    const Arrays exact = trace(directory, inputs, {.precision = Precision::f32}, make_cpu_device(Precision::f32, 0));
    Cosines found[2];
    for (const Precision precision : {Precision::bf16, Precision::f16}) {
      const Arrays rounded = trace(directory, inputs, {.precision = precision}, make_reference_device(Precision::bf16));
      found[precision == Precision::f16] = worst_of(exact, rounded);
    }
    CHECK(1 - found[1].vision < (1 - found[0].vision) / 3);
    CHECK(1 - found[1].prefix < (1 - found[0].prefix) / 2);  // keys and values themselves are bf16
    CHECK(found[1].vision > 0.999998);
    CHECK(found[1].prefix > 0.99999);
  }
}

TEST_CASE("8 bits survive channels 20 to 50 times larger than the rest") {
  const test::TemporaryDirectory scratch;
  synthesise(scratch / "tiny", {.preset = "tiny", .seed = 1, .outliers = true});
  const Inputs inputs =
      Policy::load(scratch / "tiny")
          .preprocess({.images = {{"cam_high", {2, 2, {9, 200, 30, 77, 250, 11, 0, 128, 255, 90, 60, 30}}}},
                       .state = {0.5f, -1},
                       .prompt = "pick up the cube"});
  for (const char* recipe : {"fp8", "fp8-all", "int8-all", "int8", "mixed"}) {
    const Cosines all = measure(scratch / "tiny", inputs, recipe);
    CHECK(all.vision > 0.997);
    CHECK(all.prefix > 0.97);
    CHECK(all.actions > 0.995);
    if (recipe == std::string("int8") || recipe == std::string("mixed"))
      CHECK(all.vision > 0.9999);  // 0.99979 where the stream is not rotated
  }
}
