// linear and linear_add at the model's shapes, beside oneDNN called directly in its best format. Both go round over as
// many weights as no cache holds, as a model's layers do.
#include <omp.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <random>

#include "bench.h"

namespace nervus {
namespace {

struct Product {
  const char* name;
  std::int64_t rows, inputs, outputs;
  bool bias;
  bool add;  // linear_add
};

constexpr Product shapes[] = {
    {"vision patches", 768, 1176, 1280, false, false},
    {"vision qkv", 768, 1280, 3840, true, false},
    {"vision out", 768, 1280, 1280, true, true},
    {"vision gate up", 768, 1280, 6848, true, false},
    {"vision down", 768, 3424, 1280, true, true},
    {"merger", 192, 5120, 5120, true, false},
    {"prefix qkv", 208, 2048, 2560, true, false},
    {"prefix out", 208, 2048, 2048, false, true},
    {"prefix gate up", 208, 2048, 22016, false, false},
    {"prefix down", 208, 11008, 2048, false, true},
    {"expert qkv", 51, 768, 2560, true, false},
    {"expert out", 51, 2048, 768, false, true},
    {"expert gate up", 51, 768, 5504, false, false},
    {"expert down", 51, 2752, 768, false, true},
    {"action in", 50, 75, 768, true, false},
    {"action out", 50, 768, 75, true, false},
};

constexpr std::int64_t uncached_bytes = 96 << 20;

// oneDNN's own best: every format that may be free is free, and prepared before the clock starts.
class BareLinear {
 public:
  BareLinear(const Product& s, DType act, DType output, std::int64_t weights) : stream_(engine_) {
    using dnnl::memory;
    const auto type = act == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    const auto y_type = output == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    const memory::desc x({s.rows, s.inputs}, type, memory::format_tag::ab);
    const memory::desc w({s.inputs, s.outputs}, type, memory::format_tag::any);
    const memory::desc b({1, s.outputs}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc y({s.rows, s.outputs}, y_type, memory::format_tag::ab);
    dnnl::primitive_attr attributes;
    dnnl::post_ops after;
    if (s.add) after.append_sum(1.0f);
    attributes.set_post_ops(after);
#if DNNL_VERSION_MAJOR >= 3
    const auto description = s.bias ? dnnl::matmul::primitive_desc(engine_, x, w, b, y, attributes)
                                    : dnnl::matmul::primitive_desc(engine_, x, w, y, attributes);
#else
    const auto description = s.bias ? dnnl::matmul::primitive_desc({x, w, b, y}, attributes, engine_)
                                    : dnnl::matmul::primitive_desc({x, w, y}, attributes, engine_);
#endif
    product_ = dnnl::matmul(description);
    arguments_ = {{DNNL_ARG_SRC, filled(x, engine_)}, {DNNL_ARG_DST, filled(y, engine_)}};
    if (s.bias) arguments_.emplace(DNNL_ARG_BIAS, filled(b, engine_));
    for (std::int64_t i = 0; i < weights; ++i) weights_.push_back(filled(description.weights_desc(), engine_));
  }

  void operator()(std::int64_t which) {
    arguments_[DNNL_ARG_WEIGHTS] = weights_[static_cast<std::size_t>(which)];
    product_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  // 0x3c3c is a small positive number in both formats.
  static dnnl::memory filled(const dnnl::memory::desc& layout, const dnnl::engine& engine) {
    dnnl::memory made(layout, engine);
    std::memset(made.get_data_handle(), 0x3c, layout.get_size());
    return made;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_;
  dnnl::matmul product_;
  std::unordered_map<int, dnnl::memory> arguments_;
  std::vector<dnnl::memory> weights_;
};

Linear make_weight(Device& device, const Product& s) {
  LinearSource source;
  source.name = s.name;
  source.inputs = s.inputs;
  source.outputs = s.outputs;
  source.full_output = s.add;
  source.read_weight = [&](DType to, void* target) {
    std::memset(target, 0x3c, static_cast<std::size_t>(s.inputs * s.outputs) * size_of(to));
  };
  if (s.bias) source.read_bias = [&](float* target) { std::fill_n(target, s.outputs, 0.0f); };
  return device.make_linear(source);
}

Row bench_linear(const Product& s, const Setting& setting, const Peaks& peaks) {
  const auto device = make_cpu_device(setting.precision, setting.threads);
  const DType act = device->activation();
  const auto weight_bytes = s.inputs * s.outputs * static_cast<std::int64_t>(size_of(act));
  const std::int64_t count = uncached_bytes / weight_bytes + 1;
  std::vector<Linear> weights;
  for (std::int64_t i = 0; i < count; ++i) weights.push_back(make_weight(*device, s));
  const DType output = weights[0].output;
  const Tensor x{device->allocate(s.rows * s.inputs * 4), act, s.rows, s.inputs};
  const Tensor y{device->allocate(s.rows * s.outputs * 4), output, s.rows, s.outputs};
  BareLinear bare(s, act, output, count);
  std::int64_t ours_next = 0;
  std::int64_t bare_next = 0;
  const auto medians = time_in_turns({[&] {
                                        const Linear& w = weights[static_cast<std::size_t>(ours_next++ % count)];
                                        if (s.add) device->kernels().linear_add(y, x, w, {});
                                        else device->kernels().linear(y, x, w);
                                      },
                                      [&] {
                                        omp_set_num_threads(setting.threads);
                                        bare(bare_next++ % count);
                                      }},
                                     setting.seconds);
  Row row;
  row.op = s.add ? "linear_add" : "linear";
  row.shape = std::string(s.name) + " " + std::to_string(s.rows) + "x" + std::to_string(s.inputs) + "x" +
              std::to_string(s.outputs);
  row.seconds = medians[0];
  row.bare = medians[1];
  row.flops = 2.0 * static_cast<double>(s.rows * s.inputs * s.outputs);
  row.bytes = static_cast<double>(weight_bytes + x.bytes() + y.bytes() * (s.add ? 2 : 1));
  row.share = row.flops / row.seconds / (act == DType::bf16 ? peaks.bf16_flops : peaks.f32_flops);
  return row;
}

}  // namespace

std::vector<Row> bench_linears(const Setting& setting, const Peaks& peaks) {
  std::vector<Row> rows;
  for (const Product& s : shapes) rows.push_back(bench_linear(s, setting, peaks));
  return rows;
}

}  // namespace nervus
