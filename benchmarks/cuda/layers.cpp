// bench_layers: layers of the model's two wide stages on a CUDA device, of random weights: small ops and library
// products, then with the wide linears' kernels, in bf16, e4m3 and int8. Each is one graph of more layers than the
// cache holds. One line of JSON a stack.
//
//   bench_layers [rows factor [layer format]]      bench_layers 8 for a batch of eight; bench_layers 1 prefix bf16 for
//                                                  the wide kernels of one stack alone, whose graph of layers is the
//                                                  last
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "backends/device.h"
#include "backends/ops.h"
#include "core/message.h"

namespace nervus {
namespace {

constexpr int replays = 21;

struct StackShape {
  const char* name;
  std::int64_t rows, width, inner;
  Heads heads;
  bool bias;
  std::int64_t window;  // rows that see each other
  int layers;
};

constexpr StackShape shapes[] = {
    {"vision, windows", 768, 1280, 3424, {16, 16, 80}, true, 64, 10},
    {"vision, views", 768, 1280, 3424, {16, 16, 80}, true, 256, 10},
    {"prefix", 242, 2048, 11008, {16, 2, 128}, false, 242, 4},
};

// Bits of a bf16 normal deviate, repeated.
class Noise {
 public:
  Noise() : values_(std::size_t{1} << 22) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal(0.0f, 0.02f);
    for (BFloat16& value : values_) value = to_bfloat16(normal(generator));
  }
  void fill(DType to, void* target, std::int64_t count) const {
    for (std::int64_t at = 0; at < count; at += std::ssize(values_)) {
      const std::int64_t length = std::min<std::int64_t>(std::ssize(values_), count - at);
      convert(DType::bf16, values_.data(), to,
              static_cast<std::byte*>(target) + at * static_cast<std::int64_t>(size_of(to)), length);
    }
  }

 private:
  std::vector<BFloat16> values_;
};

struct Layer {
  Linear qkv, out, gate_up, down;
};

class Stack {
 public:
  Stack(Device& device, const Noise& noise, const StackShape& shape)
      : shape_(shape),
        workspace_(device.allocate(workspace_bytes), workspace_bytes),
        ops_(device.kernels(), workspace_, device.activation()) {
    const Heads& heads = shape.heads;
    const std::int64_t q = heads.query * heads.size, kv = heads.key_value * heads.size, rows = shape.rows;
    const auto linear = [&](std::int64_t outputs, std::int64_t inputs, bool add, Heads of, bool gate_up) {
      LinearSource source{.name = "linear", .outputs = outputs, .inputs = inputs};
      source.read_weight = [&](DType to, void* target) { noise.fill(to, target, outputs * inputs); };
      if (shape.bias) source.read_bias = [&](float* target) { noise.fill(DType::f32, target, outputs); };
      source.full_output = add, source.heads = of, source.gate_up = gate_up;
      return device.make_linear(source);
    };
    for (int i = 0; i < shape.layers; ++i) {
      layers_.push_back({linear(q + 2 * kv, shape.width, false, heads, false), linear(shape.width, q, true, {}, false),
                         linear(2 * shape.inner, shape.width, false, {}, true),
                         linear(shape.width, shape.inner, true, {}, false)});
    }
    norm_.scale = device.constant(1, shape.width, std::vector<float>(static_cast<std::size_t>(shape.width), 1.0f));
    std::vector<std::int32_t> order, ranges;
    for (std::int32_t r = 0; r < rows; ++r) {
      const auto begin = static_cast<std::int32_t>(r / shape.window * shape.window);
      order.push_back(r);
      ranges.insert(ranges.end(), {begin, static_cast<std::int32_t>(begin + shape.window), 0, 0});
    }
    order_ = device.constant(1, rows, order);
    ranges_ = device.constant(rows, 4, ranges);
    const Tensor angles = device.constant(
        rows, heads.size / 2, std::vector<float>(static_cast<std::size_t>(rows * heads.size / 2), std::sqrt(0.5f)));
    rope_ = {angles, angles, order_};
    std::vector<float> start(static_cast<std::size_t>(rows * shape.width));
    noise.fill(DType::f32, start.data(), std::ssize(start));
    h_.h = device.constant(rows, shape.width, start);
    cache_ = {ops_.allocate(device.activation(), rows, kv), ops_.allocate(device.activation(), rows, kv)};
  }

  // Norms alone, then attention alone.
  void run_norms() {
    const auto scope = ops_.scope();
    for (const Layer& w : layers_) ops_.rms_norm(h_.h, norm_, w.qkv.input);
  }
  void run_attention() {
    const auto scope = ops_.scope();
    const Tensor q = ops_.allocate(ops_.activation(), shape_.rows, shape_.heads.query * shape_.heads.size);
    for (const Layer& w : layers_) ops_.attention(q, cache_, ranges_, shape_.heads, w.out.input);
  }
  void run() {
    for (const Layer& w : layers_) {
      const auto scope = ops_.scope();
      const Tensor q = ops_.qkv(h_, norm_, w.qkv, rope_, cache_, order_);
      ops_.linear_add(h_, ops_.attention(q, cache_, ranges_, shape_.heads, w.out.input), w.out, {}, norm_);
      ops_.linear_add(h_, ops_.gate_up(h_, norm_, w.gate_up, w.down.input), w.down, {}, norm_);
    }
  }

 private:
  static constexpr std::int64_t workspace_bytes = std::int64_t{1} << 30;

  const StackShape shape_;
  Workspace workspace_;
  Ops ops_;
  std::vector<Layer> layers_;
  Norm norm_;
  Rope rope_;
  Tensor order_, ranges_;
  Residual h_;
  KeyValues cache_;
};

void measure(const Noise& noise, StackShape shape, std::int64_t factor, DType format, bool wide) {
  const auto device = make_cuda_device(Precision::bf16, 0, wide);
  if (format != DType::bf16) device->use_formats({{"linear", {format, format == DType::e4m3 ? 0.02f : 1.0f}}});
  shape.rows *= factor;
  Stack stack(*device, noise, shape);
  // Of one layer, in microseconds.
  const auto time = [&](const std::function<void()>& work) {
    const auto graph = device->capture(work);
    std::vector<double> found;
    for (int i = 0; i < replays; ++i) {
      device->note(0);
      graph->launch();
      device->note(1);
      device->synchronize();
      found.push_back(device->milliseconds(0, 1) * 1000.0 / shape.layers);
    }
    std::sort(found.begin(), found.end());
    return found[found.size() / 2];
  };
  const double norms = time([&] { stack.run_norms(); }), attention = time([&] { stack.run_attention(); });
  std::printf(
      "{\"layer\": \"%s\", \"rows\": %lld, \"format\": \"%s\", \"wide\": %s, \"us\": %.2f, "
      "\"attention_us\": %.2f, \"norm_us\": %.2f}\n",
      shape.name, static_cast<long long>(shape.rows), name_of(format), wide ? "true" : "false",
      time([&] { stack.run(); }), attention, norms);
  for (const std::string& line : device->plan()) std::printf("  %s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace
}  // namespace nervus

int main(int count, char** arguments) {
  try {
    const nervus::Noise noise;
    const std::int64_t factor = count > 1 ? std::atoi(arguments[1]) : 1;
    const bool one = count > 2;
    if (one && count != 4) nervus::fail(nervus::ErrorKind::usage, "expected [rows factor [layer format]]");
    bool found = false;
    for (const nervus::StackShape& shape : nervus::shapes) {
      if (one && std::strcmp(shape.name, arguments[2]) != 0) continue;
      for (const nervus::DType format : {nervus::DType::bf16, nervus::DType::e4m3, nervus::DType::i8}) {
        if (one && std::strcmp(name_of(format), arguments[3]) != 0) continue;
        for (const bool wide : {false, true}) {
          if (wide || (!one && format != nervus::DType::i8)) nervus::measure(noise, shape, factor, format, wide);
        }
        found = true;
      }
    }
    if (!found) nervus::fail(nervus::ErrorKind::usage, "no layer '", arguments[2], "' in ", arguments[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_layers: %s\n", error.what());
    return 1;
  }
  return 0;
}
