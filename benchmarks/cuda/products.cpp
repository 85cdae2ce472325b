// bench_products: the wide linears' kernels of a CUDA device, every tile at the model's shapes in bf16, f16, e4m3 and
// int8, beside cuBLASLt (a product and what it cannot fuse is left out). Each is a graph of launches that take other
// weights in turn, so that these come from memory as they do in a model. One line of JSON a measurement.
//
//   bench_products [rows factor [shape]]      e.g. bench_products 8 expert: the expert's, for a batch of eight
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "backends/cuda/graph.h"
#include "backends/cuda/wide/kernels.h"
#include "backends/device.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

constexpr std::int64_t weight_bytes = std::int64_t{400} << 20;  // several times the cache
constexpr int replays = 15;

struct ProductCase {
  const char* name;
  WideRole role;
  std::int64_t rows, inputs, outputs;
  Heads heads = {};
};

constexpr ProductCase product_cases[] = {
    {"vision qkv", WideRole::qkv, 768, 1280, 3840, {16, 16, 80}}, {"vision proj", WideRole::add, 768, 1280, 1280},
    {"vision gate_up", WideRole::gate_up, 768, 1280, 6848},       {"vision down", WideRole::add, 768, 3424, 1280},
    {"prefix qkv", WideRole::qkv, 242, 2048, 2560, {16, 2, 128}}, {"prefix o", WideRole::add, 242, 2048, 2048},
    {"prefix gate_up", WideRole::gate_up, 242, 2048, 22016},      {"prefix down", WideRole::add, 242, 11008, 2048},
    {"expert qkv", WideRole::qkv, 51, 768, 2560, {16, 2, 128}},   {"expert o", WideRole::add, 51, 2048, 768},
    {"expert gate_up", WideRole::gate_up, 51, 768, 5504},         {"expert down", WideRole::add, 51, 2752, 768},
};

Tensor view(const void* data, DType dtype, std::int64_t rows, std::int64_t columns) {
  return {const_cast<void*>(data), dtype, rows, columns};
}

class Bench {
 public:
  explicit Bench(std::int64_t factor)
      : factor_(factor),
        device_(make_cuda_device(Precision::bf16, 0)),
        stream_(0),
        random_(static_cast<std::size_t>(8) << 20) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal(0.0f, 0.03f);
    for (std::size_t i = 0; i < random_.size() / 2; ++i) {
      std::uint16_t value = to_bfloat16(normal(generator)).bits;
      if ((value & 0x7f) == 0x7f) value ^= 1;  // as two values of e4m3: no NaN
      std::memcpy(random_.data() + 2 * i, &value, 2);
    }
    for (Tensor* buffer : {&weights_, &x_, &y_, &cache_}) {
      *buffer = view(nullptr, DType::u8, 1, weight_bytes);
      buffer->data = device_->allocate(weight_bytes);
      for (std::int64_t at = 0; at < weight_bytes; at += std::ssize(random_)) {
        device_->upload(view(static_cast<std::byte*>(buffer->data) + at, DType::u8, 1, std::ssize(random_)),
                        random_.data());
      }
    }
    h_ = view(device_->allocate(weight_bytes), DType::f32, 1, weight_bytes / 4);
    table_ = device_->constant(1, 1 << 20, std::vector<float>(1 << 20, 0.5f));
    std::vector<std::int32_t> order(1 << 16);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    order_ = device_->constant(1, std::ssize(order), order);
  }

  void run(const ProductCase& given, DType dtype) {
    ProductCase c = given;
    c.rows *= factor_;
    for (const WideTile& tile : wide_tiles(c.role)) {
      if (wide_fits(tile, c.inputs, dtype)) report(c, dtype, name_of(tile).c_str(), own(c, dtype, tile));
    }
    if (dtype != DType::i8) report(c, dtype, "cuBLASLt", library(c, dtype));
  }

 private:
  // Of one launch, in microseconds.
  double time(int launches, const std::function<void(int)>& launch) {
    device_->synchronize();
    for (int i = 0; i < launches; ++i) launch(i);
    stream_.synchronize();
    const auto graph = capture_graph(stream_, [&] {
      for (int i = 0; i < launches; ++i) launch(i);
    });
    const Event begin = make_event(cudaEventDefault), end = make_event(cudaEventDefault);
    std::vector<float> found;
    for (int i = 0; i < replays; ++i) {
      check_cuda(cudaEventRecord(begin.get(), stream_.get()), "noting the time");
      graph->launch();
      check_cuda(cudaEventRecord(end.get(), stream_.get()), "noting the time");
      stream_.synchronize();
      float milliseconds = 0;
      check_cuda(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "measuring a product");
      found.push_back(milliseconds);
    }
    std::sort(found.begin(), found.end());
    return found[found.size() / 2] * 1000.0 / launches;
  }

  static int copies(const ProductCase& c, DType dtype) {
    const std::int64_t bytes = c.inputs * c.outputs * static_cast<std::int64_t>(size_of(dtype));
    return static_cast<int>(std::clamp<std::int64_t>(weight_bytes / bytes, 1, 24));
  }

  double own(const ProductCase& c, DType dtype, const WideTile& tile) {
    const int count = copies(c, dtype);
    const std::int64_t bytes = c.inputs * c.outputs * static_cast<std::int64_t>(size_of(dtype));
    const std::int64_t width = c.heads.key_value * c.heads.size;
    return time(count * 2, [&](int i) {
      Tensor x = view(x_.data, dtype, c.rows, c.inputs);
      if (dtype == DType::i8) x.row_scales = table_.as<float>();
      const WideProduct product{
          .x = x,
          .weight = view(static_cast<std::byte*>(weights_.data) + i % count * bytes, dtype, c.outputs, c.inputs),
          .scale = size_of(dtype) == 1 ? view(table_.data, DType::f32, 1, c.outputs) : Tensor{},
          .bias = view(table_.data, DType::f32, 1, c.outputs)};
      if (c.role == WideRole::add) {
        wide_linear_add(stream_, tile, view(h_.data, DType::f32, c.rows, c.outputs), product, {});
      } else if (c.role == WideRole::gate_up) {
        wide_gate_up(stream_, tile, view(y_.data, dtype == DType::i8 ? DType::bf16 : dtype, c.rows, c.outputs / 2),
                     product);
      } else {
        const std::int64_t half = c.heads.size / 2;
        const Tensor angles = view(table_.data, DType::f32, table_.columns / half, half);
        const KeyValues cache{
            view(cache_.data, DType::bf16, c.rows, width),
            view(static_cast<std::byte*>(cache_.data) + weight_bytes / 2, DType::bf16, c.rows, width)};
        const Tensor order = view(order_.data, DType::i32, 1, c.rows);
        wide_qkv(stream_, tile, view(y_.data, DType::bf16, c.rows, c.heads.query * c.heads.size), cache, order, product,
                 c.heads, {angles, angles, order});
      }
    });
  }

  double library(const ProductCase& c, DType dtype) {
    const std::string name = concat("weight of ", name_of(dtype));
    device_->use_formats({{concat("weight of ", name_of(DType::e4m3)), {DType::e4m3, 0.01f}},
                          {concat("weight of ", name_of(DType::f16)), {DType::f16, float16_input_scale}}});
    const bool add = c.role == WideRole::add;
    std::vector<Linear> linears;
    for (int i = 0; i < copies(c, dtype); ++i) {
      linears.push_back(device_->make_linear({.name = name,
                                              .outputs = c.outputs,
                                              .inputs = c.inputs,
                                              .read_weight = [&](DType to, void* target) { fill(to, target, c); },
                                              .full_output = add}));
    }
    Tensor x = view(x_.data, dtype, c.rows, c.inputs);
    x.scale = linears[0].input.scale;
    const auto launch = [&] {
      for (const Linear& w : linears) {
        if (add) device_->kernels().linear_add(view(h_.data, DType::f32, c.rows, c.outputs), x, w, {});
        else device_->kernels().linear(view(y_.data, DType::bf16, c.rows, c.outputs), x, w);
      }
    };
    launch();
    const auto graph = device_->capture(launch);
    std::vector<double> found;
    for (int i = 0; i < replays; ++i) {
      device_->note(0);
      graph->launch();
      device_->note(1);
      device_->synchronize();
      found.push_back(device_->milliseconds(0, 1) * 1000.0 / static_cast<double>(linears.size()));
    }
    std::sort(found.begin(), found.end());
    return found[found.size() / 2];
  }

  void fill(DType to, void* target, const ProductCase& c) const {
    const std::int64_t bytes = c.inputs * c.outputs * static_cast<std::int64_t>(size_of(to));
    for (std::int64_t at = 0; at < bytes; at += std::ssize(random_)) {
      std::memcpy(static_cast<std::byte*>(target) + at, random_.data(),
                  static_cast<std::size_t>(std::min<std::int64_t>(std::ssize(random_), bytes - at)));
    }
  }

  static void report(const ProductCase& c, DType dtype, const char* kernel, double microseconds) {
    const double flops = 2.0 * static_cast<double>(c.rows * c.inputs * c.outputs);
    std::printf(
        "{\"shape\": \"%s\", \"rows\": %lld, \"format\": \"%s\", \"kernel\": \"%s\", \"us\": %.2f, "
        "\"tflops\": %.0f}\n",
        c.name, static_cast<long long>(c.rows), name_of(dtype), kernel, microseconds, flops / microseconds / 1e6);
    std::fflush(stdout);
  }

  std::int64_t factor_;
  std::unique_ptr<Device> device_;
  Stream stream_;
  std::vector<std::byte> random_;
  Tensor weights_, x_, y_, cache_, h_, table_, order_;
};

}  // namespace
}  // namespace nervus::cuda

int main(int count, char** arguments) {
  try {
    nervus::cuda::Bench bench(count > 1 ? std::atoi(arguments[1]) : 1);
    for (const nervus::DType dtype :
         {nervus::DType::bf16, nervus::DType::f16, nervus::DType::e4m3, nervus::DType::i8}) {
      for (const auto& c : nervus::cuda::product_cases) {
        if (count < 3 || std::strstr(c.name, arguments[2]) != nullptr) bench.run(c, dtype);
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_products: %s\n", error.what());
    return 1;
  }
  return 0;
}
