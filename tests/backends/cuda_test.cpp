// Promises of the CUDA device alone: what it refuses, memory, copies, graphs, the same bits again. Without such a
// device the cases say so and check what can be checked.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "lab.h"

namespace nervus {
namespace {

ErrorKind kind_of_failure(const std::function<void()>& work, std::string& message) {
  try {
    work();
  } catch (const Error& error) {
    message = error.what();
    return error.kind();
  }
  FAIL("expected an error");
  return ErrorKind::internal;
}

TEST_CASE("cuda: a device that is not there is refused in a sentence with its mend") {
  std::string message;
  CHECK(kind_of_failure([] { make_cuda_device(Precision::bf16, 4096); }, message) == ErrorKind::unsupported);
  const bool no_build = message.find("this build has no CUDA: rebuild with -DNERVUS_CUDA=ON") != std::string::npos;
  const bool no_driver = message.find("no NVIDIA driver was found") != std::string::npos;
  const bool old_driver = message.find("update the driver") != std::string::npos;
  const bool no_gpu = message.find("look at nvidia-smi") != std::string::npos;
  const bool out_of_range = message.find("device 'cuda:4096': this machine has ") == 0;
  CAPTURE(message);
  CHECK(no_build + no_driver + old_driver + no_gpu + out_of_range == 1);
}

TEST_CASE("cuda: memory is counted, aligned and zero") {
  const auto device = cuda_or_skip(Precision::f32);
  if (!device) return;
  const std::int64_t before = device->memory();
  for (const std::int64_t bytes :
       {std::int64_t{1}, std::int64_t{1000}, std::int64_t{5} << 20, std::int64_t{40} << 20}) {
    void* memory = device->allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0);
    std::vector<unsigned char> found(static_cast<std::size_t>(bytes), 1);
    device->download(found.data(), {memory, DType::u8, 1, bytes});
    CHECK(std::all_of(found.begin(), found.end(), [](unsigned char x) { return x == 0; }));
  }
  CHECK(device->memory() - before == 1001 + (std::int64_t{45} << 20));
}

TEST_CASE("cuda: what is uploaded comes back, in any size") {
  const auto device = cuda_or_skip(Precision::f32);
  if (!device) return;
  for (const std::int64_t count : {1, 1000, 5'000'000}) {
    std::vector<std::int32_t> sent(static_cast<std::size_t>(count));
    std::iota(sent.begin(), sent.end(), 7);
    const Tensor tensor = device->constant(1, count, sent);
    std::vector<std::int32_t> found(sent.size());
    device->download(found.data(), tensor);
    CHECK(found == sent);
  }
}

TEST_CASE("cuda: an allocation that is too large is an error, and the device goes on") {
  const auto device = cuda_or_skip(Precision::f32);
  if (!device) return;
  const std::int64_t before = device->memory();
  std::string message;
  CHECK(kind_of_failure([&] { device->allocate(std::int64_t{1} << 46); }, message) == ErrorKind::device);
  CAPTURE(message);
  CHECK(message.find("cuda:0: allocating ") == 0);
  CHECK(message.find("free memory on it") != std::string::npos);
  CHECK(device->memory() == before);
  const Tensor x = device->constant(1, 2, std::vector<float>{1.0f, -2.0f});
  device->kernels().euler_step(x, x, 0.5f);
  std::vector<float> found(2);
  device->download(found.data(), x);
  CHECK(found == std::vector<float>{0.5f, -1.0f});
}

TEST_CASE("cuda: rows without an index and without a slot stay as they are") {
  const auto device = cuda_or_skip(Precision::f32);
  if (!device) return;
  Lab lab(*device, 3);
  const Tensor x = lab.input(DType::f32, 2, 8, std::vector<float>(16, 2.0f));
  const Tensor y = lab.input(DType::f32, 3, 8, std::vector<float>(24, 5.0f));
  lab.kernels().gather_rows(y, x, lab.integers(1, 3, {1, -1, 0}));
  const std::vector<float> found = lab.values(y);
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == (i / 8 == 1 ? 5.0f : 2.0f));
}

// A small block: norm, linear, swiglu, gated linear_add.
struct Block {
  Block(Lab& lab, std::int64_t rows)
      : up(lab.linear(256, 512, true)),
        down(lab.linear(256, 256, true, true)),
        scale(lab.input(DType::f32, 1, 256)),
        gate(lab.input(DType::f32, 1, 256)),
        h(lab.input(DType::f32, rows, 256)),
        normal(lab.output(lab.activation(), rows, 256)),
        wide(lab.output(lab.activation(), rows, 512)),
        narrow(lab.output(lab.activation(), rows, 256)) {}

  void run(Kernels& kernels) const {
    kernels.rms_norm(normal, h, {scale, {}});
    kernels.linear(wide, normal, up);
    kernels.swiglu(narrow, wide);
    kernels.linear_add(h, narrow, down, {});
    kernels.linear_add(h, narrow, down, gate);
  }

  Linear up, down;
  Tensor scale, gate, h, normal, wide, narrow;
};

TEST_CASE("cuda: a graph does what its launches did, to the last bit, on what is in memory when it is launched") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const auto device = cuda_or_skip(precision);
    if (!device) return;
    Lab lab(*device, 4);
    const Block block(lab, 51);
    const std::unique_ptr<Graph> graph = device->capture([&] { block.run(device->kernels()); });
    for (int round = 0; round < 3; ++round) {
      const std::vector<float> fresh = lab.random_values(block.h.count(), 1.0f);
      device->upload(block.h, fresh.data());
      block.run(device->kernels());
      const std::vector<float> expected = lab.values(block.h);
      device->upload(block.h, fresh.data());
      graph->launch();
      CHECK(same_bits(lab.values(block.h), expected));
    }
    CHECK(device->plan().size() > 1);
  }
}

TEST_CASE("cuda: blocks are fused unless their linears have formats or an observer is to see them") {
  const auto device = cuda_or_skip(Precision::bf16);
  if (!device) return;
  const BlockShape shape{.names = "expert.",
                         .qkv = ".qkv",
                         .out = ".out",
                         .gate_up = ".gate_up",
                         .down = ".down",
                         .width = 768,
                         .inner = 2752,
                         .rows = 50,
                         .heads = {16, 2, 128}};
  CHECK_FALSE(make_cuda_device(Precision::bf16, 0, false)->plan_blocks(shape).fused);
  const bool fuses = device->plan_blocks(shape).fused;
  if (!device->multiplies(DType::e4m3)) return;
  device->use_formats({{"experts", {DType::e4m3, 1.0f}}, {"vision.qkv", {DType::e4m3, 1.0f}}});
  CHECK(device->plan_blocks(shape).fused == fuses);
  const auto how = [&](Formats formats) {
    device->use_formats(std::move(formats));
    const bool found = device->plan_blocks(shape).fused;
    const std::string line = device->plan().at(1), beginning = "blocks of expert.*, up to 50 rows: ";
    REQUIRE(line.starts_with(beginning));
    CHECK(line.substr(beginning.size()).starts_with("not fused: ") != found);
    return line.substr(beginning.size());
  };
  CHECK(how({{"expert.0.other", {DType::e4m3, 1.0f}}}).starts_with("not fused: "));
  if (!fuses) return;
  CHECK(how({}) == "five fused kernels a layer");
  CHECK(how({{"expert.0.out", {DType::e4m3, 1.0f}}, {"expert.3.down", {DType::e4m3, 1.0f}}}) ==
        "five fused kernels a layer, 2 linears in f8_e4m3");
  CHECK(how({{"expert.0.out", {DType::e4m3, 1.0f}}, {"expert.0.qkv", {DType::e4m3, 1.0f}}}) ==
        "five fused kernels a layer, 1 linear in f8_e4m3, 1 linear in bf16: the calibration has no range of the stream "
        "before its norm: run `nervus calibrate` again");
  if (!device->multiplies(DType::i8)) return;
  CHECK(how({{"expert.2.down", {DType::i8}}}) == "not fused: expert.2.down is in i8, expected f8_e4m3 or bf16");
}

TEST_CASE("cuda: two devices of one process compute side by side") {
  const auto first = cuda_or_skip(Precision::bf16);
  if (!first) return;
  const auto second = make_cuda_device(Precision::bf16, 0);
  Lab lab(*first, 5), other(*second, 5);
  const Block block(lab, 33), twin(other, 33);
  for (int round = 0; round < 5; ++round) {
    block.run(first->kernels());
    twin.run(second->kernels());
  }
  std::string message;
  CHECK(kind_of_failure([&] { second->allocate(std::int64_t{1} << 46); }, message) == ErrorKind::device);
  block.run(first->kernels());
  twin.run(second->kernels());
  CHECK(same_bits(lab.values(block.h), other.values(twin.h)));
}

TEST_CASE("cuda: a weight beyond f16 is refused when it is made, in a sentence that names it") {
  const auto device = cuda_or_skip(Precision::bf16);
  if (!device) return;
  const auto make = [&](float largest, DType format, bool queries) {
    device->use_formats({{"tower.out", held(format)}});
    LinearSource source{.name = "tower.out", .outputs = 96, .inputs = 64};
    if (queries) source.heads = {2, 2, 16};
    source.read_weight = [&](DType to, void* target) {
      std::vector<float> values(64 * 96, 0.5f);
      values[64 * 95 + 3] = -largest;
      convert(DType::f32, values.data(), to, target, 64 * 96);
    };
    device->make_linear(source);
  };
  for (const bool queries : {false, true}) {
    for (const float wrong : {1024.0f, 1e6f, std::numeric_limits<float>::quiet_NaN()}) {
      std::string message;
      CHECK(kind_of_failure([&] { make(wrong, DType::f16, queries); }, message) == ErrorKind::checkpoint);
      CHECK(message.starts_with("tower.out: expected weights of at most 1023, the range of f16, found "));
    }
    CHECK_NOTHROW(make(1023.0f, DType::f16, queries));
    if (device->multiplies(DType::e4m3)) CHECK_NOTHROW(make(1e6f, DType::e4m3, queries));
  }
}

TEST_CASE("cuda: notes measure the time between them") {
  const auto device = cuda_or_skip(Precision::bf16);
  if (!device) return;
  Lab lab(*device, 6);
  const Block block(lab, 408);
  device->note(0);
  for (int round = 0; round < 10; ++round) block.run(device->kernels());
  device->note(1);
  device->synchronize();
  CHECK(device->milliseconds(0, 1) > 0.0);
  CHECK(device->milliseconds(0, 1) < 10000.0);
}

}  // namespace
}  // namespace nervus
