// The wide linears' kernels, each tile that is compiled in each format, against the plain product and what the small
// ops do with it. On a device of compute capability 9.0.
#include <doctest/doctest.h>

#include <cmath>

#include "backends/cuda/kernels.h"
#include "backends/cuda/wide/kernels.h"
#include "backends/ops.h"
#include "lab.h"
#include "reference/device.h"

namespace nervus::cuda {
namespace {

using Values = std::vector<float>;

// A device and a stream of its own to launch on.
struct WideLab {
  explicit WideLab(Device& device, std::uint64_t seed) : lab(device, seed), stream(0) {}

  Values take(const Tensor& x) {
    stream.synchronize();
    return lab.values(x);
  }
  Tensor empty(DType dtype, std::int64_t rows, std::int64_t columns) {
    const Tensor y = lab.output(dtype, rows, columns);
    lab.device().synchronize();  // the other stream may write it now
    return y;
  }

  // Of a format of 8 bits, for the other stream to write: what clears it is done.
  Tensor cleared(DType dtype, std::int64_t rows, std::int64_t columns) {
    const Tensor y{lab.device().allocate(rows * columns), dtype, rows, columns};
    lab.device().synchronize();
    return y;
  }

  Lab lab;
  Stream stream;
};

struct WideCase {
  std::int64_t rows, inputs, outputs;
  bool bias;
  Heads heads = {};
  bool many = false;  // more tiles than a device holds blocks, for those that are persistent
};

// x W^T + b of a case: as the wide kernels take it, and its values in the order of the weight's own rows.
struct WideInputs {
  WideInputs(WideLab& wide, const WideCase& c, DType dtype, WideRole role) {
    Lab& lab = wide.lab;
    const float deviation = dtype == DType::e4m3 ? 8.0f : 1.0f / std::sqrt(static_cast<float>(c.inputs));
    const DType held = dtype == DType::f16 ? dtype : DType::bf16;
    const Tensor weight = lab.input(held, c.outputs, c.inputs, deviation);
    const Tensor bias = c.bias ? lab.input(DType::f32, 1, c.outputs) : Tensor{};
    Tensor scale;
    if (dtype == DType::i8) product.x = lab.int8_output(c.rows, c.inputs);
    if (dtype == DType::e4m3) {
      Values scales = lab.random_values(c.outputs, 0.1f, 1.0f);
      for (float& s : scales) s /= 8.0f * std::sqrt(static_cast<float>(c.inputs));
      scale = lab.input(DType::f32, 1, c.outputs, scales);
    }
    const Tensor x = lab.input(dtype == DType::i8 ? DType::bf16 : dtype, c.rows, c.inputs);
    lab.device().synchronize();  // before the other stream reads and writes
    if (dtype == DType::i8) gather_rows(wide.stream, product.x, x, {});
    else product.x = x;
    const auto in_format = [&](const Tensor& w, Tensor& own) {
      if (size_of(dtype) == 2) return w;
      const Tensor y = wide.cleared(dtype, w.rows, w.columns);
      if (dtype == DType::e4m3) return gather_rows(wide.stream, y, w, {}), y;
      own = wide.empty(DType::f32, 1, w.rows);
      quantise_rows(wide.stream, y, own, w, 1.0f);
      return y;
    };
    const auto packed = [&](const Tensor& w) {
      if (!w || apart(role) == WideRole::add) return w;
      const Tensor y = wide.empty(w.dtype, w.rows, w.columns);
      wide_pack(wide.stream, y, w, role, c.heads.size);
      return y;
    };
    product.bias = packed(bias);
    product.scale = packed(scale);
    product.weight = in_format(packed(weight), product.scale);
    const Tensor y = wide.empty(DType::f32, c.rows, c.outputs);
    lab.device().synchronize();
    const Tensor rows = in_format(weight, scale);
    const bool normed = role == WideRole::fused_qkv || role == WideRole::fused_gate_up;
    plain_linear(wide.stream, {.y = y, .x = product.x, .bias = normed ? Tensor{} : bias, .gate = {}, .scale = scale},
                 rows);
    values = wide.take(y);
    if (normed) divide_by_norms(lab, c, bias);
  }

  // Of a stream that says what its squares are.
  void divide_by_norms(Lab& lab, const WideCase& c, const Tensor& bias) {
    const std::int64_t parts = c.inputs / Residual::square_part;
    Values squares = lab.random_values(c.rows * parts, 9.0f);
    const Values offsets = bias ? lab.values(bias) : Values(static_cast<std::size_t>(c.outputs));
    for (std::int64_t row = 0; row < c.rows; ++row) {
      double sum = 0.0;
      for (std::int64_t i = 0; i < parts; ++i) {
        float& square = squares[static_cast<std::size_t>(row * parts + i)];
        sum += square = std::abs(square) * static_cast<float>(row % 7 + 1);
      }
      const double root = std::sqrt(sum / static_cast<double>(c.inputs) + 1e-6);
      for (std::int64_t n = 0; n < c.outputs; ++n) {
        float& value = values[static_cast<std::size_t>(row * c.outputs + n)];
        value = static_cast<float>(value / root) + offsets[static_cast<std::size_t>(n)];
      }
    }
    product.squares = lab.input(DType::f32, c.rows, parts, squares);
    lab.device().synchronize();
  }

  WideProduct product;
  Values values;
};

// Runs `check` on each tile of a role, in each of its formats, for each of `cases` that it can compute.
template <typename Check>
void for_each_tile(WideRole role, const std::vector<WideCase>& cases, const Check& check) {
  const auto device = cuda_or_skip(Precision::bf16);
  if (!device) return;
  if (Stream(0).major() != 9) {
    MESSAGE("skipped: " << device->description() << " has no wide linears");
    return;
  }
  for (const WideTile& tile : wide_tiles(role)) {
    for (const DType dtype : {DType::bf16, DType::f16, DType::e4m3, DType::i8}) {
      for (const WideCase& c : cases) {
        if (!wide_fits(role, c.outputs, c.inputs, c.heads.size, dtype) || !wide_fits(tile, c.inputs, dtype)) continue;
        if (c.many && !tile.persistent) continue;
        if (role != apart(role) && (dtype == DType::f16 || dtype == DType::i8)) continue;
        CAPTURE(name_of(tile));
        CAPTURE(std::string(name_of(dtype)));
        CAPTURE(c.rows);
        CAPTURE(c.inputs);
        WideLab lab(*device, 21);
        const WideInputs inputs(lab, c, dtype, role);
        check(lab, tile, c, dtype, inputs);
      }
    }
  }
}

void check_linear_add(const std::vector<WideCase>& cases) {
  for_each_tile(WideRole::add, cases, [](WideLab& lab, const WideTile& tile, const WideCase& c, DType dtype, auto& in) {
    for (const bool gated : {false, true}) {
      const Values start = lab.lab.random_values(c.rows * c.outputs, 1.0f);
      const Tensor gate = gated ? lab.lab.input(DType::f32, 1, c.outputs) : Tensor{};
      const Values gates = gated ? lab.lab.values(gate) : Values(static_cast<std::size_t>(c.outputs), 1.0f);
      Values expected = start, found[2];
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += gates[i % gates.size()] * in.values[i];
      for (Values& result : found) {
        const Tensor h = lab.lab.input(DType::f32, c.rows, c.outputs, start);
        lab.lab.device().synchronize();
        wide_linear_add(lab.stream, tile, h, in.product, gate);
        result = lab.take(h);
      }
      check_close(dtype == DType::e4m3 ? "linear_add_e4m3" : "wide_linear_add", DType::f32, found[0], expected);
      CHECK(same_bits(found[0], found[1]));
    }
  });
}

TEST_CASE("cuda wide: linear_add adds the product to the stream, with and without bias and gate") {
  check_linear_add({{1, 1024, 16, false}, {130, 1040, 400, true}, {300, 1536, 1296, false}, {1030, 1552, 544, true}});
}

TEST_CASE("cuda wide, the model's shapes: linear_add") {
  check_linear_add(
      {{242, 2048, 2048, false}, {768, 3424, 1280, true}, {768, 1280, 1280, true}, {264, 11008, 2048, false}});
}

// h and what the next norm needs.
void check_fused_add(const std::vector<WideCase>& cases, DType held) {
  const auto check = [&](WideLab& lab, const WideTile& tile, const WideCase& c, DType dtype, auto& in) {
    const Values start = lab.lab.random_values(c.rows * c.outputs, 1.0f);
    const Tensor gate = lab.lab.input(DType::f32, 1, c.outputs), scale = lab.lab.input(DType::f32, 1, c.outputs);
    const Values gates = lab.lab.values(gate), scales = lab.lab.values(scale);
    Values expected = start;
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += gates[i % gates.size()] * in.values[i];
    const std::int64_t parts = c.outputs / Residual::square_part;
    for (int round = 0; round < 2; ++round) {
      Residual h{lab.lab.input(DType::f32, c.rows, c.outputs, start),
                 held == DType::e4m3 ? lab.cleared(held, c.rows, c.outputs) : lab.empty(held, c.rows, c.outputs),
                 lab.empty(DType::f32, c.rows, parts)};
      if (held == DType::e4m3) h.scaled.scale = test_scale;
      lab.lab.device().synchronize();
      wide_fused_add(lab.stream, tile, h, in.product, gate, scale);
      const Values found = lab.take(h.h), scaled = lab.take(h.scaled), squares = lab.take(h.squares);
      check_close(dtype == DType::e4m3 ? "linear_add_e4m3" : "wide_linear_add", DType::f32, found, expected);
      Values stream = found, sums(squares.size());
      for (std::size_t i = 0; i < found.size(); ++i) {
        const float value = found[i] * (scales[i % scales.size()] * (1.0f / h.scaled.scale));
        stream[i] = held == DType::e4m3 ? to_float(to_float8(value)) : to_float(to_bfloat16(value));
        sums[i / Residual::square_part] += found[i] * found[i];
      }
      CHECK(scaled == stream);
      check_close("squares", DType::f32, squares, sums);
    }
  };
  for_each_tile(WideRole::fused_add, cases, check);
}

TEST_CASE("cuda wide: linear_add of a fused block leaves what the next norm needs, in bf16 and e4m3") {
  for (const DType held : {DType::bf16, DType::e4m3})
    check_fused_add({{1, 1024, 128, false}, {130, 1040, 384, true}, {408, 2752, 768, false}, {1030, 2048, 768, true}},
                    held);
}

void check_gate_up(const std::vector<WideCase>& cases, WideRole role = WideRole::gate_up) {
  for_each_tile(role, cases, [](WideLab& lab, const WideTile& tile, const WideCase& c, DType dtype, auto& in) {
    const std::int64_t width = c.outputs / 2;
    Values expected;
    for (std::int64_t i = 0; i < c.rows * width; ++i) {
      const float* row = in.values.data() + i / width * c.outputs + i % width;
      expected.push_back(row[0] / (1.0f + std::exp(-row[0])) * row[width]);
    }
    Values found[2];
    for (Values& result : found) {
      const Tensor y = lab.empty(DType::bf16, c.rows, width);
      lab.lab.device().synchronize();
      wide_gate_up(lab.stream, tile, y, in.product);
      result = lab.take(y);
    }
    check_close(dtype == DType::e4m3 ? "linear_e4m3" : "gate_up", DType::bf16, found[0], expected);
    CHECK(same_bits(found[0], found[1]));
    Tensor half = lab.empty(DType::f16, c.rows, width);
    half.scale = 4;
    lab.lab.device().synchronize();
    wide_gate_up(lab.stream, tile, half, in.product);
    Values halves = lab.take(half);
    for (float& value : halves) value *= half.scale;
    if (dtype != DType::e4m3) check_close("gate_up", DType::f16, halves, expected);
    Tensor y = lab.empty(DType::e4m3, c.rows, width);
    y.scale = test_scale;
    lab.lab.device().synchronize();
    wide_gate_up(lab.stream, tile, y, in.product);
    Values coded = lab.take(y);
    for (std::size_t i = 0; i < coded.size(); ++i) {  // half a step of the code, and what the product may be off
      const float bound = std::abs(expected[i]) / 15.0f + 0.04f, most = Float8::largest * test_scale;
      const float wanted = std::min(std::max(expected[i], -most), most);
      if (!(std::abs(coded[i] * test_scale - wanted) <= bound)) {
        CHECK(coded[i] * test_scale == doctest::Approx(wanted));
        break;
      }
    }
  });
}

TEST_CASE("cuda wide: gate_up is product and swiglu, in bf16, f16 and e4m3") {
  check_gate_up({{1, 64, 16, false}, {130, 208, 400, true}, {257, 1040, 336, true}, {1030, 528, 544, false}});
  check_gate_up({{4000, 64, 3200, true, {}, true}});  // many of one step each
  check_gate_up({{1540, 208, 3200, true, {}, true}, {1100, 1040, 2304, false, {}, true}});
}

TEST_CASE("cuda wide: gate_up of a stream before its norm divides rows by their norms") {
  check_gate_up({{1, 128, 16, false}, {130, 1024, 400, true}, {408, 768, 5504, true}}, WideRole::fused_gate_up);
}

TEST_CASE("cuda wide, the model's shapes: gate_up") {
  check_gate_up({{242, 2048, 22016, false}, {768, 1280, 6848, true}});
}

struct Angles {
  Rope rope;
  Values cosine, sine;
  std::vector<std::int32_t> positions, slots;
};

// Rows stored from slot rows + 2 downwards but for row 1, which is not stored.
Angles draw_angles(Lab& lab, std::int64_t rows, std::int64_t half) {
  Angles a;
  for (const float angle : lab.random_values(30 * half, 2.0f)) {
    a.cosine.push_back(std::cos(angle)), a.sine.push_back(std::sin(angle));
  }
  for (std::int32_t r = 0; r < rows; ++r) {
    a.positions.push_back(r * 7 % 30);
    a.slots.push_back(r == 1 ? -1 : static_cast<std::int32_t>(rows) + 2 - r);
  }
  a.rope = {lab.input(DType::f32, 30, half, a.cosine), lab.input(DType::f32, 30, half, a.sine),
            lab.integers(1, rows, a.positions)};
  return a;
}

// What split_rope makes of the product: q, keys and values, NaN where nothing is stored.
std::vector<Values> split(const WideCase& c, const Values& product, const Angles& a) {
  const std::int64_t d = c.heads.size, half = d / 2, heads = c.heads.query + 2 * c.heads.key_value, slots = c.rows + 3;
  const Values none(static_cast<std::size_t>(slots * c.heads.key_value * d), std::numeric_limits<float>::quiet_NaN());
  std::vector<Values> out = {Values(static_cast<std::size_t>(c.rows * c.heads.query * d)), none, none};
  for (std::int64_t i = 0; i < c.rows * heads * d; ++i) {
    const std::int64_t row = i / (heads * d), head = i / d % heads, channel = i % d;
    const auto at = static_cast<std::size_t>(a.positions[static_cast<std::size_t>(row)] * half + channel % half);
    const float* x = product.data() + row * heads * d + head * d;
    const float partner = channel < half ? -x[channel + half] : x[channel - half];
    const bool turned = head < c.heads.query + c.heads.key_value;
    const float value = turned ? x[channel] * a.cosine[at] + partner * a.sine[at] : x[channel];
    const std::int64_t slot = a.slots[static_cast<std::size_t>(row)], g = head - c.heads.query;
    if (g < 0) out[0][static_cast<std::size_t>((row * c.heads.query + head) * d + channel)] = value;
    else if (slot >= 0) {
      const bool key = g < c.heads.key_value;
      const std::int64_t place = (slot * c.heads.key_value + (key ? g : g - c.heads.key_value)) * d + channel;
      out[key ? 1 : 2][static_cast<std::size_t>(place)] = value;
    }
  }
  return out;
}

void check_qkv(std::vector<WideCase> cases, WideRole role = WideRole::qkv) {
  for (WideCase& c : cases) c.outputs = (c.heads.query + 2 * c.heads.key_value) * c.heads.size;
  for_each_tile(role, cases, [](WideLab& lab, const WideTile& tile, const WideCase& c, DType dtype, auto& in) {
    const Angles angles = draw_angles(lab.lab, c.rows, c.heads.size / 2);
    const std::vector<Values> expected = split(c, in.values, angles);
    std::vector<Values> found[2];
    const std::int64_t width = c.heads.key_value * c.heads.size;
    for (std::vector<Values>& result : found) {
      const Tensor q = lab.empty(DType::bf16, c.rows, c.heads.query * c.heads.size);
      const KeyValues cache{lab.empty(DType::bf16, c.rows + 3, width), lab.empty(DType::bf16, c.rows + 3, width)};
      const Tensor slots = lab.lab.integers(1, c.rows, angles.slots);
      lab.lab.device().synchronize();
      wide_qkv(lab.stream, tile, q, cache, slots, in.product, c.heads, angles.rope);
      result = {lab.take(q), lab.take(cache.keys), lab.take(cache.values)};
    }
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(i);
      check_close(dtype == DType::e4m3 ? "linear_e4m3" : "qkv", DType::bf16, found[0][i], expected[i]);
      CHECK(same_bits(found[0][i], found[1][i]));
    }
  });
}

TEST_CASE("cuda wide: qkv is product and rotation, and writes its slots alone") {
  check_qkv({{1, 256, 0, false, {2, 1, 16}}, {130, 208, 0, true, {3, 3, 48}}, {1030, 528, 0, false, {4, 2, 80}}});
  check_qkv({{4000, 64, 0, true, {20, 10, 64}, true}});
  check_qkv({{1540, 208, 0, true, {20, 10, 64}, true}, {1100, 1040, 0, false, {8, 5, 96}, true}});
}

TEST_CASE("cuda wide: qkv of a stream before its norm divides rows by their norms") {
  check_qkv({{1, 128, 0, false, {2, 1, 16}}, {130, 1024, 0, true, {3, 3, 48}}, {408, 768, 0, true, {16, 2, 128}}},
            WideRole::fused_qkv);
}

TEST_CASE("cuda wide, the model's shapes: qkv") {
  check_qkv(
      {{242, 2048, 0, true, {16, 2, 128}}, {768, 1280, 0, true, {16, 16, 80}}, {264, 2048, 0, true, {0, 2, 128}}});
}

constexpr Heads block_heads{4, 2, 80};

// A linear of random values that bf16 holds.
Linear draw_linear(Lab& lab, LinearSource source, bool bias) {
  const std::int64_t count = source.inputs * source.outputs;
  Values weight = lab.random_values(count, 1.0f / std::sqrt(static_cast<float>(source.inputs)));
  for (float& value : weight) value = to_float(to_bfloat16(value));
  const Values offsets = lab.random_values(source.outputs, 1.0f);
  source.name = "weight";
  source.read_weight = [&](DType to, void* target) { convert(DType::f32, weight.data(), to, target, count); };
  if (bias) source.read_bias = [&](float* target) { std::copy(offsets.begin(), offsets.end(), target); };
  return lab.device().make_linear(source);
}

// q, keys, values and the result of gate_up, as Ops computes them on a device.
std::vector<Values> run_block(Device& device, bool bias, bool wide) {
  Lab lab(device, 31);
  constexpr std::int64_t rows = 70, width = 336, inner = 208, bytes = std::int64_t{8} << 20;
  Workspace workspace(device.allocate(bytes), bytes);
  Ops ops(device.kernels(), workspace, device.activation());
  const std::int64_t kv = block_heads.key_value * block_heads.size;
  const Linear qkv = draw_linear(
      lab,
      {.name = "", .outputs = block_heads.query * block_heads.size + 2 * kv, .inputs = width, .heads = block_heads},
      bias);
  const Linear gate_up =
      draw_linear(lab, {.name = "", .outputs = 2 * inner, .inputs = width, .heads = {}, .gate_up = true}, bias);
  CHECK(qkv.wide == wide);
  CHECK(gate_up.wide == wide);
  const Residual h{lab.input(DType::f32, rows, width, 20.0f), {}, {}};
  const Norm norm{lab.input(DType::f32, 1, width, 0.3f, 1.0f), {}, {}};
  const KeyValues cache{lab.output(device.activation(), rows + 3, kv), lab.output(device.activation(), rows + 3, kv)};
  Angles angles = draw_angles(lab, rows, block_heads.size / 2);
  angles.slots[1] = 0;  // the reference stores every row
  const Tensor q = ops.qkv(h, norm, qkv, angles.rope, cache, lab.integers(1, rows, angles.slots));
  const Tensor y = ops.gate_up(h, norm, gate_up, {.dtype = device.activation()});
  return {lab.values(q), lab.values(cache.keys), lab.values(cache.values), lab.values(y)};
}

TEST_CASE("cuda wide: a device computes with them what the small ops do, but where an observer is to see those") {
  const auto device = cuda_or_skip(Precision::bf16);
  if (!device) return;
  const auto reference = make_reference_device(Precision::f32), watched = make_cuda_device(Precision::bf16, 0, false);
  for (const DType format : {DType::bf16, DType::f16, DType::e4m3, DType::i8}) {
    if (!device->multiplies(format)) continue;
    const bool coded = size_of(format) == 1;
    for (Device* each : {device.get(), watched.get(), reference.get()}) {
      if (format != DType::bf16) each->use_formats({{"weight", held(format)}});
    }
    for (const bool bias : {false, true}) {
      CAPTURE(std::string(name_of(format)));
      const auto expected = run_block(*reference, bias, false);
      const auto found = run_block(*device, bias, Stream(0).major() == 9), apart = run_block(*watched, bias, false);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        check_close(coded ? "wide_e4m3" : "wide", DType::bf16, found[i], expected[i]);
        check_close(coded ? "wide_e4m3" : "wide", DType::bf16, apart[i], expected[i]);
      }
    }
  }
}

TEST_CASE("cuda wide: packed outputs are the weight's rows in another order, with what is mixed side by side") {
  struct Shape {
    WideRole role;
    std::int64_t outputs, head_size, apart;
  };
  for (const Shape& s : {Shape{WideRole::qkv, 3840, 80, 40},
                         {WideRole::qkv, 2560, 128, 64},
                         {WideRole::gate_up, 6848, 0, 3424},
                         {WideRole::add, 64, 0, 8}}) {
    std::vector<bool> met(static_cast<std::size_t>(s.outputs));
    bool beside = true, once = true;
    for (std::int64_t n = 0; n < s.outputs; ++n) {
      const std::int64_t row = wide_source_row(s.role, n, s.outputs, s.head_size);
      REQUIRE(row >= 0);
      REQUIRE(row < s.outputs);
      once = once && !met[static_cast<std::size_t>(row)];
      met[static_cast<std::size_t>(row)] = true;
      if (n % 16 < 8) beside = beside && wide_source_row(s.role, n + 8, s.outputs, s.head_size) == row + s.apart;
    }
    CHECK(once);
    CHECK(beside);
  }
  CHECK_FALSE(wide_fits(WideRole::qkv, 2560, 2048, 72, DType::bf16));
  CHECK_FALSE(wide_fits(WideRole::gate_up, 6840, 2048, 0, DType::bf16));
  CHECK_FALSE(wide_fits(WideRole::add, 64, 1176, 0, DType::e4m3));
  CHECK(wide_fits(WideRole::add, 64, 1176, 0, DType::bf16));
}

}  // namespace
}  // namespace nervus::cuda
