// The ops that are no linears, at the model's shapes.
#include <random>

#include "bench.h"

namespace nervus {
namespace {

class Maker {
 public:
  explicit Maker(Device& device) : device_(device) {}

  Tensor make(DType dtype, std::int64_t rows, std::int64_t columns) {
    const Tensor x{device_.allocate(rows * columns * static_cast<std::int64_t>(size_of(dtype))), dtype, rows, columns};
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(x.count()));
    for (float& value : values) value = normal(random_);
    std::vector<std::byte> bytes(static_cast<std::size_t>(x.bytes()));
    convert(DType::f32, values.data(), dtype, bytes.data(), x.count());
    device_.upload(x, bytes.data());
    return x;
  }
  Tensor count_up(std::int64_t columns) {
    std::vector<std::int32_t> values;
    for (std::int32_t i = 0; i < columns; ++i) values.push_back(i);
    return device_.constant(1, columns, values);
  }

 private:
  Device& device_;
  std::mt19937 random_{1};
};

struct Bench {
  const Setting& setting;
  const Peaks& peaks;
  std::vector<Row> rows;

  // flops 0: bound by memory.
  void add(const char* op, const std::string& shape, double flops, double bytes, const std::function<void()>& call) {
    Row row;
    row.op = op;
    row.shape = shape;
    row.seconds = time_in_turns({call}, setting.seconds)[0];
    row.flops = flops;
    row.bytes = bytes;
    row.share = flops > 0.0 ? flops / row.seconds / peaks.f32_flops : bytes / row.seconds / peaks.bandwidth;
    rows.push_back(row);
  }
};

struct AttentionShape {
  const char* name;
  Heads heads;
  std::int64_t rows;
  std::int64_t keys;    // of a row
  std::int64_t window;  // rows that share keys; 0: all rows see the same
};

constexpr AttentionShape attention_shapes[] = {
    {"vision windows", {16, 16, 80}, 768, 64, 64},
    {"vision views", {16, 16, 80}, 768, 256, 256},
    {"prefix", {16, 2, 128}, 208, 208, 0},
    {"expert", {16, 2, 128}, 51, 259, 0},
};

void bench_attention(Device& device, Bench& bench) {
  Maker maker(device);
  const DType act = device.activation();
  for (const AttentionShape& s : attention_shapes) {
    const std::int64_t slots = s.window > 0 ? s.rows : s.keys;
    std::vector<std::int32_t> ranges;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      const auto begin = static_cast<std::int32_t>(s.window > 0 ? r / s.window * s.window : 0);
      ranges.insert(ranges.end(), {begin, begin + static_cast<std::int32_t>(s.keys), 0, 0});
    }
    const KeyValues cache{maker.make(act, slots, s.heads.key_value * s.heads.size),
                          maker.make(act, slots, s.heads.key_value * s.heads.size)};
    const Tensor q = maker.make(act, s.rows, s.heads.query * s.heads.size);
    const Tensor y = maker.make(act, s.rows, q.columns);
    const Tensor seen = device.constant(s.rows, 4, ranges);
    const double flops = 4.0 * static_cast<double>(s.heads.query * s.rows * s.keys * s.heads.size);
    bench.add("attention", s.name, flops, static_cast<double>(2 * q.bytes() + 2 * cache.keys.bytes()),
              [&] { device.kernels().attention(y, q, cache, seen, s.heads); });
  }
}

struct StreamShape {
  const char* name;
  std::int64_t rows, width, inner;
  Heads heads;
};

constexpr StreamShape stream_shapes[] = {
    {"vision", 768, 1280, 3424, {16, 16, 80}},
    {"prefix", 208, 2048, 11008, {16, 2, 128}},
    {"expert", 51, 768, 2752, {16, 2, 128}},
};

void bench_streams(Device& device, Bench& bench) {
  Maker maker(device);
  Kernels& kernels = device.kernels();
  const DType act = device.activation();
  for (const StreamShape& s : stream_shapes) {
    const Tensor h = maker.make(DType::f32, s.rows, s.width);
    const Norm norm{maker.make(DType::f32, 1, s.width), {}};
    const Tensor normal = maker.make(act, s.rows, s.width);
    bench.add("rms_norm", s.name, 0.0, static_cast<double>(h.bytes() + normal.bytes()),
              [&] { kernels.rms_norm(normal, h, norm); });

    const Heads& heads = s.heads;
    const Tensor qkv = maker.make(act, s.rows, (heads.query + 2 * heads.key_value) * heads.size);
    const Tensor q = maker.make(act, s.rows, heads.query * heads.size);
    const KeyValues cache{maker.make(act, s.rows, heads.key_value * heads.size),
                          maker.make(act, s.rows, heads.key_value * heads.size)};
    const Tensor places = maker.count_up(s.rows);
    const Rope rope{maker.make(DType::f32, s.rows, heads.size / 2), maker.make(DType::f32, s.rows, heads.size / 2),
                    places};
    bench.add("split_rope", s.name, 0.0, 2.0 * static_cast<double>(qkv.bytes()),
              [&] { kernels.split_rope(q, cache, places, qkv, heads, rope); });

    const Tensor gate_up = maker.make(act, s.rows, 2 * s.inner);
    const Tensor product = maker.make(act, s.rows, s.inner);
    bench.add("swiglu", s.name, 0.0, static_cast<double>(gate_up.bytes() + product.bytes()),
              [&] { kernels.swiglu(product, gate_up); });
  }
}

void bench_elements(Device& device, Bench& bench) {
  Maker maker(device);
  Kernels& kernels = device.kernels();
  const DType act = device.activation();
  const auto bytes = [](const Tensor& x, const Tensor& y) { return static_cast<double>(x.bytes() + y.bytes()); };
  const Tensor hidden = maker.make(act, 50, 768);
  const Tensor hidden_out = maker.make(act, 50, 768);
  bench.add("silu", "action 50x768", 0.0, bytes(hidden, hidden_out), [&] { kernels.silu(hidden_out, hidden); });
  const Tensor merged = maker.make(act, 192, 5120);
  const Tensor merged_out = maker.make(act, 192, 5120);
  bench.add("gelu", "merger 192x5120", 0.0, bytes(merged, merged_out), [&] { kernels.gelu(merged_out, merged); });
  const Tensor rows = maker.make(DType::f32, 192, 2048);
  const Tensor copied = maker.make(DType::f32, 192, 2048);
  const Tensor index = maker.count_up(192);
  bench.add("gather_rows", "192x2048 f32", 0.0, bytes(rows, copied), [&] { kernels.gather_rows(copied, rows, index); });
  Tensor pixels = maker.make(DType::f32, 3, 3 * 224 * 224 / 4);  // whose bytes are as good as any
  pixels.dtype = DType::u8, pixels.columns = 3 * 224 * 224;
  const Tensor levels = maker.make(DType::f32, 3, 256), patches = maker.make(act, 768, 1176);
  bench.add("cut_patches", "3 of 224x224", 0.0, bytes(pixels, patches),
            [&] { kernels.cut_patches(patches, pixels, levels, {}); });
  const Tensor x = maker.make(DType::f32, 50, 75);
  const Tensor v = maker.make(DType::f32, 50, 75);
  bench.add("euler_step", "50x75", 0.0, 3.0 * static_cast<double>(x.bytes()), [&] { kernels.euler_step(x, v, 1e-6f); });
}

}  // namespace

std::vector<Row> bench_kernels(const Setting& setting, const Peaks& peaks) {
  Bench bench{setting, peaks, {}};
  const auto device = make_cpu_device(setting.precision, setting.threads);
  bench_attention(*device, bench);
  bench_streams(*device, bench);
  bench_elements(*device, bench);
  return bench.rows;
}

}  // namespace nervus
