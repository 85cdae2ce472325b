#include "models/nn/weight_reader.h"

#include <doctest/doctest.h>

#include <cstring>

#include "checkpoint/support.h"

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
  std::vector<std::vector<std::byte>> blocks;
};

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
      checkpoint, device, [&](std::int64_t done, std::int64_t, const std::string&) { read = done; }, false);
  const Linear linear = reader.linear({"a", "b"});
  CHECK(linear.outputs == 3);
  CHECK(linear.inputs == 3);
  CHECK(device.weight == std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(device.bias == std::vector<float>{10, 20, 30});
  CHECK(read == static_cast<std::int64_t>(checkpoint.total_bytes()));
}

TEST_CASE_FIXTURE(Fixture, "padding is zero: rows of each tensor, columns of every row") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, {}, false);
  const Linear linear = reader.linear({"a", "b"}, {.pad_outputs = 2, .pad_inputs = 4});
  CHECK(linear.outputs == 4);
  CHECK(linear.inputs == 4);
  CHECK(device.weight == std::vector<float>{1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0});
  CHECK(device.bias == std::vector<float>{10, 20, 30, 0});
}

TEST_CASE_FIXTURE(Fixture, "a linear can take the first columns only") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, {}, false);
  CHECK(reader.linear({"a"}, {.inputs = 2}).inputs == 2);
  CHECK(device.weight == std::vector<float>{1, 2, 4, 5});
}

TEST_CASE_FIXTURE(Fixture, "affine multiplies on the host, from a column on") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, {}, false);
  CHECK(reader.affine("a", {1, 0, 0, 1, 1, 1}, 2) == std::vector<float>{11, 24, 16, 35});
  CHECK(reader.affine("a", {1, 10}, 1, 1) == std::vector<float>{10 + 2 + 30, 20 + 5 + 60});
}

TEST_CASE_FIXTURE(Fixture, "a dry reader reads nothing") {
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  WeightReader reader(checkpoint, device, {}, true);
  CHECK(reader.values("a.weight") == std::vector<float>(6));
  CHECK(reader.affine("a", {1, 0, 0}, 1) == std::vector<float>(2));
}
