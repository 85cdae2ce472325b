#include "models/nn/weight_reader.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "backends/planning_device.h"
#include "checkpoint/support.h"
#include "models/nn/rotating_reader.h"

using namespace nervus;

namespace {

// Keeps what it is given, so that a test can look at it.
class KeepingDevice : public Device {
 public:
  std::string description() const override { return "test"; }
  Kernels& kernels() override { fail(ErrorKind::internal, "no kernels"); }
  DType activation() const override { return DType::f32; }
  Linear make_linear(const LinearSource& source) override {
    weight.assign(source.outputs * source.inputs, -1.0f);
    source.read_weight(DType::f32, weight.data());
    bias.assign(source.read_bias ? source.outputs : 0, -1.0f);
    if (source.read_bias) source.read_bias(bias.data());
    largest_input = source.largest_input;
    return {.name = source.name, .inputs = source.inputs, .outputs = source.outputs};
  }
  void* allocate(std::int64_t bytes) override {
    blocks.emplace_back(bytes);
    return blocks.back().data();
  }
  void upload(const Tensor& target, const void* source) override { std::memcpy(target.data, source, target.bytes()); }
  void download(void* target, const Tensor& source) override { std::memcpy(target, source.data, source.bytes()); }
  std::int64_t memory() const override { return 0; }

  std::vector<float> weight, bias;
  float largest_input = -1;
  std::vector<std::vector<std::byte>> blocks;
};

std::vector<TensorSpec> all_of(const Checkpoint& checkpoint) {
  std::vector<TensorSpec> table;
  for (const std::string& name : checkpoint.names()) table.push_back({.name = name});
  return table;
}

struct Fixture {
  Fixture() {
    write_safetensors(directory / "model.safetensors", {{"a.weight", Array::from<float>({1, 2, 3, 4, 5, 6}, {2, 3})},
                                                        {"a.bias", Array::from<float>({10, 20}, {2})},
                                                        {"b.weight", Array::from<float>({7, 8, 9}, {1, 3})},
                                                        {"b.bias", Array::from<float>({30}, {1})}});
    directory.write("config.json", "{}");
  }
  test::TemporaryDirectory directory;
  KeepingDevice device;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "tensors stack along the outputs, with their biases") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  std::int64_t read = 0;
  WeightReader reader(
      checkpoint, device, all_of(checkpoint), [&](std::int64_t done, std::int64_t, const std::string&) { read = done; },
      false);
  const Linear linear = reader.linear({"a", "b"});
  CHECK(linear.outputs == 3);
  CHECK(linear.inputs == 3);
  CHECK(device.weight == std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(device.bias == std::vector<float>{10, 20, 30});
  CHECK(read == static_cast<std::int64_t>(checkpoint.total_bytes()));
}

TEST_CASE_FIXTURE(Fixture, "padding is zero: rows of each tensor, columns of every row") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, all_of(checkpoint), {}, false);
  const Linear linear = reader.linear({"a", "b"}, {.pad_outputs = 2, .pad_inputs = 4});
  CHECK(linear.outputs == 4);
  CHECK(linear.inputs == 4);
  CHECK(device.weight == std::vector<float>{1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0});
  CHECK(device.bias == std::vector<float>{10, 20, 30, 0});
}

TEST_CASE_FIXTURE(Fixture, "a linear can take the first columns only") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, all_of(checkpoint), {}, false);
  CHECK(reader.linear({"a"}, {.inputs = 2}).inputs == 2);
  CHECK(device.weight == std::vector<float>{1, 2, 4, 5});
}

TEST_CASE("weights and biases around a rotated stream are rotated before they are padded") {
  constexpr std::int64_t width = 20;
  const test::TemporaryDirectory directory;
  std::vector<float> numbers(12 * width), bias(width);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i % 13) - 5.5f;
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i * i % 7);
  write_safetensors(directory / "model.safetensors", {{"writer.weight", Array::from<float>(numbers, {width, 12})},
                                                      {"writer.bias", Array::from<float>(bias, {width})},
                                                      {"reader.weight", Array::from<float>(numbers, {6, 2 * width})},
                                                      {"reader.bias", Array::from<float>({1, 2, 3, 4, 5, 6}, {6})}});
  directory.write("config.json", "{}");
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  KeepingDevice device;
  WeightReader reader(checkpoint, device, all_of(checkpoint), {}, false);
  const Rotation rotation(width);

  reader.linear({"writer"}, {.pad_inputs = 16, .rotated = {.outputs = &rotation}});
  std::vector<float> expected = numbers, padded(width * 16);
  rotation.rotate_outputs(expected.data(), width, 12, device.crew());
  for (std::size_t r = 0; r < width; ++r) std::copy_n(expected.begin() + r * 12, 12, padded.begin() + r * 16);
  CHECK(device.weight == padded);
  rotation.rotate_outputs(bias.data(), width, 1, device.crew());
  CHECK(device.bias == bias);
  CHECK(device.largest_input == 0);

  std::vector<float> scale(width);
  for (std::size_t i = 0; i < scale.size(); ++i) scale[i] = 0.5f + static_cast<float>(i);
  reader.linear({"reader", "reader"}, {.pad_outputs = 4, .rotated = {.inputs = &rotation, .scale = scale}});
  expected = numbers;
  rotation.rotate_inputs(expected.data(), 6, 2 * width, scale, device.crew());
  expected.resize(8 * 2 * width);
  expected.insert(expected.end(), expected.begin(), expected.begin() + 8 * 2 * width);
  CHECK(device.weight == expected);
  CHECK(device.bias == std::vector<float>{1, 2, 3, 4, 5, 6, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0});
  CHECK(device.largest_input == std::sqrt(20.0f));
}

TEST_CASE("a stream is rotated where one of its readers is in int8, and e4m3 then has a range that none exceeds") {
  const test::TemporaryDirectory directory;
  const std::vector<float> square(16 * 16, 0.25f), scale(16, 2.0f);
  write_safetensors(directory / "model.safetensors", {{"qkv.weight", Array::from<float>(square, {16, 16})},
                                                      {"head.weight", Array::from<float>(square, {16, 16})},
                                                      {"norm.weight", Array::from<float>(scale, {16})}});
  directory.write("config.json", "{}");
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  for (const DType format : {DType::f16, DType::i8}) {
    PlanningDevice device(Precision::bf16);
    device.use_formats({{"qkv", {format}}, {"head", {DType::e4m3, 0.5f}}});
    WeightReader weights(checkpoint, device, all_of(checkpoint), {}, true);
    RotatingReader stream(weights, 16, {"qkv"});
    CHECK(stream.rotates() == (format == DType::i8));
    Norm norm;
    CHECK(stream.reader(norm, "norm.weight", {"qkv"}, {}).input == Encoding{format});
    CHECK(norm.scale.columns == 16);
    const Linear head = stream.reader(norm, "norm.weight", {"head"}, {});
    CHECK(head.input == Encoding{DType::e4m3, format == DType::i8 ? 4.0f / 448.0f : 0.5f});
  }
  KeepingDevice device;
  WeightReader weights(checkpoint, device, all_of(checkpoint), {}, false);
  RotatingReader plain(weights, 16, {"qkv"});
  Norm norm;
  plain.reader(norm, "norm.weight", {"qkv"}, {});
  CHECK(device.weight == square);
  CHECK(std::memcmp(norm.scale.data, scale.data(), 16 * sizeof(float)) == 0);
}

TEST_CASE_FIXTURE(Fixture, "affine multiplies on the host, from a column on") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, all_of(checkpoint), {}, false);
  CHECK(reader.affine("a", {1, 0, 0, 1, 1, 1}, 2) == std::vector<float>{11, 24, 16, 35});
  CHECK(reader.affine("a", {1, 10}, 1, 1) == std::vector<float>{10 + 2 + 30, 20 + 5 + 60});
}

TEST_CASE_FIXTURE(Fixture, "a tensor that the table does not list is not there") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, {{.name = "a.weight"}, {.name = "c.weight"}}, {}, false);
  CHECK(reader.has("a.weight"));
  CHECK_FALSE(reader.has("a.bias"));
  CHECK_FALSE(reader.has("c.weight"));
  reader.linear({"a"});
  CHECK(device.bias.empty());
  CHECK(reader.affine("a", {1, 0, 0}, 1) == std::vector<float>{1, 4});
  CHECK(test::error_of([&] { reader.values("a.bias"); }).second.find("the weight table required a.bias") !=
        std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "a bias of another size than its weight has outputs is not copied") {
  write_safetensors(directory / "model.safetensors", {{"a.weight", Array::from<float>({1, 2, 3, 4, 5, 6}, {2, 3})},
                                                      {"a.bias", Array::from<float>({10, 20, 30}, {3})}});
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, all_of(checkpoint), {}, false);
  CHECK(test::error_of([&] { reader.linear({"a"}); }).second.find("a: a bias for each output") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "a dry reader reads nothing") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, all_of(checkpoint), {}, true);
  CHECK(reader.values("a.weight") == std::vector<float>(6));
  CHECK(reader.affine("a", {1, 0, 0}, 1) == std::vector<float>(2));
}
