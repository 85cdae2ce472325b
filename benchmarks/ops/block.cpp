// bench_block: where the time of a denoise step goes, on a CUDA device: the action expert's layers, each with weights
// of its own, and what stands before and behind them, in one graph; then without one of the ops, and of that op alone.
// What an op is worth is what the layer saves without it: kernels of a graph overlap, so the parts do not add up.
//
// With --e4m3 1 the same is timed of a step whose `out` and `down` are in e4m3, whole steps of both in turns; with
// --e4m3 2 of one whose four linears are, too. --only 1 times the last of these alone: what lies in memory beside it
// makes a difference. --parts 0 times whole steps and nothing else.
//
// bench_block [--batch B] [--prefix KEYS] [--layers L] [--runs N] [--fuse 0|1] [--e4m3 0|1|2] [--only 0|1]
//             [--parts 0|1] [--json FILE]
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backends/device.h"
#include "backends/ops.h"
#include "core/message.h"
#include "nervus/error.h"

namespace nervus {
namespace {

struct Options {
  std::int64_t batch = 1, prefix = 242, layers = 36, runs = 30, fuse = 1, e4m3 = 0, only = 0, parts = 1;
  std::string json;
};

constexpr Heads heads{16, 2, 128};
constexpr std::int64_t width = 768, inner = 2752, actions = 50, action = 75;
constexpr std::array<const char*, 6> parts = {"qkv", "attention", "out", "gate_up", "down", "edges"};

// What is timed. Of what enters a linear in e4m3, or the stream that it reads, a few deviations fit.
struct Variant {
  const char* name;  // in the JSON
  const char* text;
  Formats formats;
};
const Format added{DType::e4m3, 0.01f}, reading{DType::e4m3, 0.01f, 0.04f};
const Variant variants[] = {
    {"bf16", "", {}},
    {"e4m3", ", out and down in e4m3", {{"layer.out", added}, {"layer.down", added}}},
    {"all_e4m3",
     ", all four in e4m3",
     {{"layer.qkv", reading}, {"layer.out", added}, {"layer.gate_up", reading}, {"layer.down", added}}},
};

struct Layer {
  Linear qkv, out, gate_up, down;
  Norm first, second;
  Tensor gate;
  KeyValues cache;
};

class Bench {
 public:
  Bench(const Options& options, const Formats& formats)
      : options_(options),
        rows_(options.batch * (1 + actions)),
        device_(make_cuda_device(Precision::bf16, 0, options.fuse != 0)),
        workspace_(device_->allocate(workspace_bytes), workspace_bytes),
        ops_(device_->kernels(), workspace_, device_->activation()) {
    device_->use_formats(formats);
    plan_ = device_->plan_blocks({.names = "layer.",
                                  .qkv = "qkv",
                                  .out = "out",
                                  .gate_up = "gate_up",
                                  .down = "down",
                                  .width = width,
                                  .inner = inner,
                                  .rows = rows_,
                                  .heads = heads});
    for (std::int64_t i = 0; i < options.layers; ++i) layers_.push_back(make_layer());
    place_rows();
    h_ = ops_.residual(rows_, layers_[0].qkv);
    const std::vector<float> stream = draw(rows_ * width, 1.0f);
    device_->upload(h_.h, stream.data());
    embed_in_ = make_linear({.name = "embed_in", .outputs = width, .inputs = action, .silu = true});
    embed_out_ = make_linear({.name = "embed_out", .outputs = width, .inputs = width, .full_output = true});
    velocity_ = make_linear({.name = "velocity", .outputs = action, .inputs = width, .full_output = true});
    last_ = make_norm(velocity_);
    states_ = constant(options.batch, width, 1.0f);
    x_ = constant(options.batch * actions, action, 1.0f);
  }

  std::string description() const {
    return device_->description() + (!plan_.fused ? ", not fused" : plan_.wide ? ", fused, wide" : ", fused");
  }

  // Median of microseconds a step, with the ops whose flag is set.
  double time(const std::array<bool, parts.size()>& with) {
    const auto graph = device_->capture([&] { run(with); });
    std::vector<double> times;
    for (std::int64_t i = 0; i < options_.runs + 3; ++i) {
      device_->note(0);
      graph->launch();
      device_->note(1);
      device_->synchronize();
      if (i >= 3) times.push_back(device_->milliseconds(0, 1) * 1e3);
    }
    std::nth_element(times.begin(), times.begin() + std::ssize(times) / 2, times.end());
    return times[times.size() / 2];
  }

 private:
  static constexpr std::int64_t workspace_bytes = std::int64_t{64} << 20;

  std::vector<float> draw(std::int64_t count, float deviation) {
    std::normal_distribution<float> normal(0.0f, deviation);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = normal(random_);
    return values;
  }
  Tensor constant(std::int64_t rows, std::int64_t columns, float deviation) {
    return device_->constant(rows, columns, draw(rows * columns, deviation));
  }

  Linear make_linear(LinearSource source) {
    const std::int64_t count = source.inputs * source.outputs;
    if (std::ssize(weights_) < count) weights_ = draw(count, 0.03f);
    if (source.name.starts_with("layer.") || source.silu || !plan_.wide) source.block = &plan_;
    source.read_weight = [&](DType to, void* target) { convert(DType::f32, weights_.data(), to, target, count); };
    return device_->make_linear(source);
  }
  Norm make_norm(const Linear& reader) {
    return device_->fold({.scale = constant(1, width, 1.0f), .shift = constant(1, width, 0.1f), .folded = {}}, reader);
  }
  KeyValues make_cache() {
    const std::int64_t slots = options_.batch * stride(), columns = heads.key_value * heads.size;
    KeyValues cache;
    for (Tensor* part : {&cache.keys, &cache.values}) {
      *part = {device_->allocate(slots * columns * 2), DType::bf16, slots, columns};
      const std::vector<float> values = draw(slots * columns, 1.0f);
      std::vector<std::byte> bytes(static_cast<std::size_t>(part->bytes()));
      convert(DType::f32, values.data(), DType::bf16, bytes.data(), part->count());
      device_->upload(*part, bytes.data());
    }
    return cache;
  }
  Layer make_layer() {
    const std::int64_t queries = heads.query * heads.size;
    Layer layer{
        .qkv = make_linear({.name = "layer.qkv",
                            .outputs = queries + 2 * heads.key_value * heads.size,
                            .inputs = width,
                            .heads = heads}),
        .out = make_linear({.name = "layer.out", .outputs = width, .inputs = queries, .full_output = true}),
        .gate_up = make_linear({.name = "layer.gate_up", .outputs = 2 * inner, .inputs = width, .gate_up = true}),
        .down = make_linear({.name = "layer.down", .outputs = width, .inputs = inner, .full_output = true})};
    layer.first = make_norm(layer.qkv);
    layer.second = make_norm(layer.gate_up);
    layer.gate = constant(1, width, 0.1f);
    layer.cache = make_cache();
    return layer;
  }

  // Slots of a sample: its prefix, its state, its actions; the state does not see the actions.
  std::int64_t stride() const { return options_.prefix + 1 + actions; }
  void place_rows() {
    std::vector<std::int32_t> positions, slots, ranges;
    const auto place = [&](std::int64_t sample, std::int64_t within) {
      const auto begin = static_cast<std::int32_t>(sample * stride());
      const auto end = static_cast<std::int32_t>(begin + options_.prefix);
      positions.push_back(static_cast<std::int32_t>(options_.prefix + within));
      slots.push_back(static_cast<std::int32_t>(end + within));
      ranges.insert(ranges.end(), {begin, end, end, static_cast<std::int32_t>(end + (within > 0 ? 1 + actions : 1))});
    };
    for (std::int64_t b = 0; b < options_.batch; ++b) place(b, 0);
    for (std::int64_t b = 0; b < options_.batch; ++b) {
      for (std::int64_t i = 1; i <= actions; ++i) place(b, i);
    }
    slots_ = device_->constant(1, rows_, slots);
    visible_ = {device_->constant(rows_, 4, ranges), true, order()};
    rope_ = {constant(stride(), heads.size / 2, 1.0f), constant(stride(), heads.size / 2, 1.0f),
             device_->constant(1, rows_, positions)};
  }

  // Of several samples: the rows of each in tiles of their own.
  Tensor order() {
    if (options_.batch == 1) return {};
    constexpr std::int64_t places = Visible::places(1 + actions);
    std::vector<std::int32_t> rows(static_cast<std::size_t>(options_.batch * places), -1);
    for (std::int64_t b = 0; b < options_.batch; ++b) {
      rows[b * places] = static_cast<std::int32_t>(b);
      for (std::int64_t i = 0; i < actions; ++i)
        rows[b * places + 1 + i] = static_cast<std::int32_t>(options_.batch + b * actions + i);
    }
    return device_->constant(1, std::ssize(rows), rows);
  }

  void run(const std::array<bool, parts.size()>& with) {
    const auto scope = ops_.scope();
    if (with[5]) {
      const Tensor x = ops_.silu_linear(x_, embed_in_, rows_, embed_out_.input);
      ops_.embed(h_, states_, x, embed_out_, layers_[0].first);
    }
    const bool tiled = layers_[0].qkv.input.tiled;
    Tensor q = ops_.allocate(Encoding{.dtype = DType::bf16, .tiled = tiled}, rows_, heads.query * heads.size);
    Tensor attended = ops_.allocate(layers_[0].out.input, rows_, heads.query * heads.size);
    Tensor products = ops_.allocate(layers_[0].down.input, rows_, inner);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& w = layers_[i];
      const Norm& next = i + 1 < layers_.size() ? layers_[i + 1].first : last_;
      const auto layer_scope = ops_.scope();
      if (with[0]) q = ops_.qkv(h_, w.first, w.qkv, rope_, w.cache, slots_);
      if (with[1]) attended = ops_.attention(q, w.cache, visible_, heads, w.out.input);
      if (with[2]) ops_.linear_add(h_, attended, w.out, w.gate, w.second);
      if (with[3]) products = ops_.gate_up(h_, w.second, w.gate_up, w.down.input);
      if (with[4]) ops_.linear_add(h_, products, w.down, w.gate, next);
    }
    if (with[5]) ops_.euler_step(x_, h_, last_, velocity_, 1e-3f);
  }

  Options options_;
  std::int64_t rows_;
  std::unique_ptr<Device> device_;
  Workspace workspace_;
  Ops ops_;
  BlockPlan plan_;
  std::mt19937 random_{1};
  std::vector<float> weights_;
  std::vector<Layer> layers_;
  Tensor slots_;
  Visible visible_{Tensor{}};
  Rope rope_;
  Residual h_;
  Linear embed_in_, embed_out_, velocity_;
  Norm last_;
  Tensor states_, x_;
};

Options parse(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string &name = arguments[i], &value = arguments[i + 1];
    if (name == "--batch") options.batch = std::stol(value);
    else if (name == "--prefix") options.prefix = std::stol(value);
    else if (name == "--layers") options.layers = std::stol(value);
    else if (name == "--runs") options.runs = std::stol(value);
    else if (name == "--fuse") options.fuse = std::stol(value);
    else if (name == "--e4m3") options.e4m3 = std::stol(value);
    else if (name == "--only") options.only = std::stol(value);
    else if (name == "--parts") options.parts = std::stol(value);
    else if (name == "--json") options.json = value;
    else fail(ErrorKind::usage, "bench_block: unknown option ", name);
  }
  if (arguments.size() % 2 != 0) fail(ErrorKind::usage, "bench_block: ", arguments.back(), " wants a value");
  if (options.batch < 1 || options.layers < 1 || options.runs < 1)
    fail(ErrorKind::usage, "bench_block: --batch, --layers and --runs: expected at least 1");
  if (options.e4m3 < 0 || options.e4m3 >= std::ssize(variants))
    fail(ErrorKind::usage, "bench_block: --e4m3: expected 0, 1 or 2, found ", options.e4m3);
  return options;
}

// What an op is worth, in microseconds each time it is there.
struct Part {
  const char* name;
  double saved, alone;
};

struct Found {
  double step;
  std::vector<Part> parts;
};

constexpr std::array<bool, parts.size()> everything = {true, true, true, true, true, true};

Found take_apart(Bench& bench, const Options& options, double whole) {
  Found found{.step = whole, .parts = {}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::array<bool, parts.size()> others = everything, alone{};
    others[i] = false;
    alone[i] = true;
    // the edges are there once
    const double count = i + 1 < parts.size() ? static_cast<double>(options.layers) : 1.0;
    found.parts.push_back({parts[i], (whole - bench.time(others)) / count, bench.time(alone) / count});
    const Part& part = found.parts.back();
    std::printf("  %-10s %6.2f us saved without it, %6.2f us alone\n", part.name, part.saved, part.alone);
  }
  return found;
}

void write_found(std::ofstream& file, const Found& found) {
  file << "\"step_us\": " << found.step << ", \"parts\": [";
  for (std::size_t i = 0; i < found.parts.size(); ++i) {
    const Part& part = found.parts[i];
    file << (i > 0 ? ", " : "") << "{\"op\": \"" << part.name << "\", \"saved_us\": " << part.saved
         << ", \"alone_us\": " << part.alone << "}";
  }
  file << "]";
}

// Those that are timed: all up to --e4m3, or that alone.
std::span<const Variant> timed_variants(const Options& options) {
  const auto last = static_cast<std::size_t>(options.e4m3), first = options.only != 0 ? last : 0;
  return std::span(variants).subspan(first, last + 1 - first);
}

void write_json(const Options& options, const std::string& device, const std::vector<Found>& found) {
  const std::span<const Variant> timed = timed_variants(options);
  std::ofstream file(options.json);
  file << "{\"device\": \"" << device << "\", \"batch\": " << options.batch << ", \"prefix\": " << options.prefix
       << ", \"layers\": " << options.layers << ", \"variant\": \"" << timed[0].name << "\", ";
  write_found(file, found[0]);
  for (std::size_t i = 1; i < found.size(); ++i) {
    file << ", \"" << timed[i].name << "\": {";
    write_found(file, found[i]);
    file << "}";
  }
  file << "}\n";
  if (!file) fail(ErrorKind::io, options.json, ": cannot be written");
}

// The median of whole steps of each, timed in turns.
std::vector<double> in_turns(const std::vector<std::unique_ptr<Bench>>& benches) {
  constexpr int turns = 5;
  std::vector<std::vector<double>> times(benches.size());
  for (int turn = 0; turn < turns; ++turn) {
    for (std::size_t i = 0; i < benches.size(); ++i) times[i].push_back(benches[i]->time(everything));
  }
  std::vector<double> medians;
  for (std::vector<double>& each : times) {
    std::nth_element(each.begin(), each.begin() + turns / 2, each.end());
    medians.push_back(each[turns / 2]);
  }
  return medians;
}

void run(const Options& options) {
  std::vector<std::unique_ptr<Bench>> benches;
  const std::span<const Variant> timed = timed_variants(options);
  for (const Variant& variant : timed) benches.push_back(std::make_unique<Bench>(options, variant.formats));
  const std::vector<double> steps = in_turns(benches);
  std::vector<Found> found;
  for (std::size_t i = 0; i < benches.size(); ++i) {
    std::printf("%s%s\nbatch %ld, prefix %ld, %ld layers: %.1f us a step\n", benches[i]->description().c_str(),
                timed[i].text, static_cast<long>(options.batch), static_cast<long>(options.prefix),
                static_cast<long>(options.layers), steps[i]);
    if (options.parts != 0) found.push_back(take_apart(*benches[i], options, steps[i]));
    else found.push_back({.step = steps[i], .parts = {}});
  }
  if (!options.json.empty()) write_json(options, benches[0]->description(), found);
}

}  // namespace
}  // namespace nervus

int main(int count, char** arguments) {
  try {
    nervus::run(nervus::parse({arguments + 1, arguments + count}));
    return 0;
  } catch (const nervus::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return nervus::exit_code(error.kind());
  }
}
