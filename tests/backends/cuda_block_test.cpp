// The fused linears of a block on a CUDA device that has them, against the small ops on the reference device.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

#include "fused_lab.h"
#include "reference/device.h"

namespace nervus {
namespace {

struct BlockCase {
  std::int64_t rows, width, inner;
  Heads heads;
  bool bias, shift, gate;
  float deviation;  // of the residual stream

  BlockShape shape() const {
    return {.names = "",
            .qkv = "qkv",
            .out = "out",
            .gate_up = "gate_up",
            .down = "down",
            .width = width,
            .inner = inner,
            .rows = rows,
            .heads = heads};
  }
};

constexpr Heads small{2, 1, 128}, full{16, 2, 128};
constexpr BlockCase cases[] = {
    {1, 128, 208, small, true, true, true, 1.0f},     {16, 128, 192, small, false, false, false, 300.0f},
    {51, 768, 2752, full, true, true, false, 1.0f},   {64, 160, 208, small, true, false, true, 1e-3f},
    {65, 128, 192, small, false, true, false, 20.0f}, {102, 768, 2752, full, false, false, true, 1.0f},
    {128, 128, 208, small, true, true, true, 0.1f},
};

// By wide tiles.
constexpr BlockCase wide_cases[] = {
    {129, 128, 208, small, true, true, true, 1.0f},
    {204, 768, 2752, full, false, true, true, 1.0f},
    {300, 1024, 144, small, true, false, false, 300.0f},
    {408, 768, 2752, full, true, true, true, 0.1f},
};

// Of linears that add to the stream, in e4m3.
constexpr BlockCase e4m3_cases[] = {
    {1, 128, 224, small, true, true, true, 1.0f},      {16, 128, 192, small, false, false, false, 300.0f},
    {51, 768, 2752, full, true, true, false, 1.0f},    {64, 160, 2080, small, true, false, true, 1e-3f},
    {65, 128, 2816, small, false, true, false, 20.0f}, {102, 768, 2752, full, false, false, true, 1.0f},
    {128, 128, 992, small, true, true, true, 0.1f},
};
const Formats in_e4m3 = {{"out", {DType::e4m3, test_scale}}, {"down", {DType::e4m3, test_scale}}};

// Of linears that read the stream, in e4m3.
constexpr BlockCase stream_cases[] = {
    {1, 128, 224, small, true, true, true, 1.0f},    {17, 96, 192, small, false, false, false, 300.0f},
    {51, 768, 2752, full, true, true, false, 1.0f},  {64, 160, 2080, small, true, false, true, 1e-3f},
    {65, 736, 96, small, false, true, false, 20.0f}, {102, 768, 2752, full, false, false, true, 1.0f},
    {128, 128, 992, small, true, true, true, 0.1f},
};

// Of h times the norm's scale: a few values are beyond the range.
float stream_scale(const BlockCase& c) { return test_scale * c.deviation; }
Formats reads_in_e4m3(const BlockCase& c) {
  return {{"qkv", {DType::e4m3, 1, stream_scale(c)}}, {"gate_up", {DType::e4m3, 1, stream_scale(c)}}};
}

Formats all_in_e4m3(const BlockCase& c) {
  Formats formats = reads_in_e4m3(c);
  formats.insert(in_e4m3.begin(), in_e4m3.end());
  return formats;
}

// cuda:0 in bf16, or null and a message of why not: no such device, or one without fused blocks.
std::unique_ptr<Device> fusing_device_or_skip() {
  auto device = cuda_or_skip(Precision::bf16);
  if (!device || device->plan_blocks(cases[0].shape()).fused) return device;
  MESSAGE("skipped: " << device->description() << " has no fused blocks");
  return nullptr;
}

Norm draw_norm(FusedLab& lab, std::int64_t width, bool shifted) {
  const std::vector<float> scale = lab.draw(width, 0.3f, 1.0f), shift = lab.draw(width, 0.5f);
  return {.scale = lab.plain().device().constant(1, width, scale),
          .shift = shifted ? lab.plain().device().constant(1, width, shift) : Tensor{},
          .folded = {}};
}

Residual draw_residual(FusedLab& lab, std::int64_t rows, const Linear& reader, float deviation) {
  const Residual h = lab.ops().residual(rows, reader);
  const std::vector<float> values = lab.plain().random_values(rows * reader.inputs, deviation);
  lab.plain().device().upload(h.h, values.data());
  return h;
}

// h times the norm's scale as it is stored.
std::vector<float> scaled_stream(FusedLab& lab, const Tensor& h, const Norm& norm, const Encoding& encoding) {
  const std::vector<float> scale = lab.values(norm.scale);
  std::vector<float> stream = lab.values(h);
  for (std::size_t i = 0; i < stream.size(); ++i) {
    const float value = stream[i] * (scale[i % scale.size()] * (1.0f / encoding.scale));
    stream[i] = encoding.dtype == DType::e4m3 ? to_float(to_float8(value)) : to_float(to_bfloat16(value));
  }
  return stream;
}

// What a fused norm needs besides h.
void check_residual(FusedLab& lab, const Residual& h, const Norm& next) {
  if (!h.scaled) return;
  const Encoding encoding = next.folded ? next.stream : lab.encoding();
  Tensor found = h.scaled;
  found.dtype = encoding.dtype;
  CHECK(lab.values(found) == scaled_stream(lab, h.h, next, encoding));
  const std::vector<float> values = lab.values(h.h);
  std::vector<float> squares;
  constexpr auto part = static_cast<std::size_t>(Residual::square_part);
  for (std::size_t i = 0; i < values.size(); i += part) {
    double sum = 0.0;
    for (std::size_t j = i; j < i + part; ++j) sum += static_cast<double>(values[j]) * values[j];
    squares.push_back(static_cast<float>(sum));
  }
  check_close("squares", DType::f32, lab.values(h.squares), squares);
}

struct Positions {
  Rope rope;
  Tensor slots;
};

// Rows stored from slot rows + 2 downwards; slots 0 to 2 stay as they are.
Positions draw_positions(FusedLab& lab, std::int64_t rows) {
  std::vector<std::int32_t> positions, slots;
  for (std::int32_t r = 0; r < rows; ++r) {
    positions.push_back(r * 7 % 30);
    slots.push_back(static_cast<std::int32_t>(rows) + 2 - r);
  }
  std::vector<float> cosine, sine;
  for (const float angle : lab.draw(30 * 64, 2.0f)) cosine.push_back(std::cos(angle)), sine.push_back(std::sin(angle));
  Device& device = lab.plain().device();
  return {.rope = {device.constant(30, 64, cosine), device.constant(30, 64, sine), device.constant(1, rows, positions)},
          .slots = device.constant(1, rows, slots)};
}

KeyValues poisoned_cache(FusedLab& lab, std::int64_t slots, const Heads& heads) {
  const DType dtype = lab.plain().activation();
  const std::int64_t width = heads.key_value * heads.size;
  return {lab.plain().output(dtype, slots, width), lab.plain().output(dtype, slots, width)};
}

LinearSource qkv_source(const BlockCase& c) {
  return {.name = "qkv",
          .outputs = (c.heads.query + 2 * c.heads.key_value) * c.heads.size,
          .inputs = c.width,
          .heads = c.heads};
}

LinearSource gate_up_source(const BlockCase& c) {
  return {.name = "gate_up", .outputs = 2 * c.inner, .inputs = c.width, .heads = {}, .gate_up = true};
}

// Whether the reference is to compute a linear that is fused in e4m3 elsewhere: there codes of the stream are
// normalised, where the small ops have codes of the norm.
bool of_codes(const FusedLab& lab, const Linear& w) { return !lab.fuses() && w.input.dtype == DType::e4m3; }

Tensor product_of_codes(FusedLab& lab, const Tensor& h, const Norm& norm, const Linear& w, float scale) {
  const std::vector<float> values = lab.values(h);
  const std::vector<float> shift = norm.shift ? lab.values(norm.shift) : std::vector<float>(values.size());
  std::vector<float> x = scaled_stream(lab, h, norm, {DType::e4m3, scale});
  const auto width = static_cast<std::size_t>(h.columns);
  for (std::size_t row = 0; row < values.size(); row += width) {
    double squares = 0.0;
    for (std::size_t k = 0; k < width; ++k) squares += static_cast<double>(values[row + k]) * values[row + k];
    const double root = std::sqrt(squares / static_cast<double>(width) + 1e-6);
    for (std::size_t k = 0; k < width; ++k) x[row + k] = static_cast<float>(x[row + k] * scale / root) + shift[k];
  }
  const Tensor y = lab.plain().output(DType::f32, h.rows, w.outputs);
  lab.plain().device().kernels().linear(y, lab.plain().input(DType::f32, h.rows, h.columns, x), w);
  return y;
}

using Outputs = std::vector<std::vector<float>>;

Outputs run_qkv(FusedLab& lab, const BlockCase& c) {
  const Linear w = lab.linear(qkv_source(c), c.bias);
  const Norm norm = lab.plain().device().fold(draw_norm(lab, c.width, c.shift), w);
  const Residual h = draw_residual(lab, c.rows, w, c.deviation);
  const Positions at = draw_positions(lab, c.rows);
  const KeyValues cache = poisoned_cache(lab, c.rows + 3, c.heads);
  lab.ops().start_residual(h, norm);
  check_residual(lab, h, norm);
  const Tensor q = of_codes(lab, w) ? lab.ops().split_rope(product_of_codes(lab, h.h, norm, w, stream_scale(c)),
                                                           w.heads, at.rope, cache, at.slots)
                                    : lab.ops().qkv(h, norm, w, at.rope, cache, at.slots);
  return {lab.values(q), lab.values(cache.keys), lab.values(cache.values)};
}

Outputs run_gate_up(FusedLab& lab, const BlockCase& c, const Encoding& encoding) {
  const Linear w = lab.linear(gate_up_source(c), c.bias);
  const Norm norm = lab.plain().device().fold(draw_norm(lab, c.width, c.shift), w);
  const Residual h = draw_residual(lab, c.rows, w, c.deviation);
  lab.ops().start_residual(h, norm);
  check_residual(lab, h, norm);
  if (of_codes(lab, w))
    return {lab.values(lab.ops().swiglu(product_of_codes(lab, h.h, norm, w, stream_scale(c)), encoding))};
  return {lab.values(lab.ops().gate_up(h, norm, w, encoding))};
}

Outputs run_linear_add(FusedLab& lab, const BlockCase& c, const char* name) {
  const std::int64_t inputs = name == std::string("out") ? c.heads.query * c.heads.size : c.inner;
  const Linear reader = lab.linear(qkv_source(c), false);
  const Linear w =
      lab.linear({.name = name, .outputs = c.width, .inputs = inputs, .full_output = true, .heads = {}}, c.bias);
  const Norm norm = lab.plain().device().fold(draw_norm(lab, c.width, c.shift), reader);
  const std::vector<float> gates = lab.draw(c.width, 1.0f);
  const Tensor gate = c.gate ? lab.plain().device().constant(1, c.width, gates) : Tensor{};
  const Residual h = draw_residual(lab, c.rows, reader, c.deviation);
  const Tensor x = lab.rows(c.rows, inputs, lab.draw(c.rows * inputs, 1.0f), w.input);
  lab.ops().linear_add(h, x, w, gate, norm);
  check_residual(lab, h, norm);
  lab.ops().linear_add(h, x, w, gate, norm);
  check_residual(lab, h, norm);
  return {lab.values(h.h)};
}

// What stands before and behind the blocks of an action expert: a step of x by what a stream made of it says.
Outputs run_edges(FusedLab& lab, const BlockCase& c) {
  constexpr std::int64_t columns = 75;
  const std::int64_t first_rows = 1 + c.rows / 64;
  if (c.rows <= first_rows) return {};
  const Linear in = lab.edge({.name = "", .outputs = c.width, .inputs = columns, .heads = {}, .silu = true}, c.bias);
  const Linear out =
      lab.edge({.name = "embed", .outputs = c.width, .inputs = c.width, .full_output = true, .heads = {}}, c.bias);
  const Linear reader = lab.linear(qkv_source(c), false);
  const Linear velocity =
      lab.edge({.name = "", .outputs = columns, .inputs = c.width, .full_output = true, .heads = {}}, c.bias);
  const Norm next = lab.plain().device().fold(draw_norm(lab, c.width, c.shift), reader);
  const Norm last = lab.plain().device().fold(draw_norm(lab, c.width, c.shift), velocity);
  const Tensor first =
      lab.plain().input(DType::f32, first_rows, c.width, lab.plain().random_values(first_rows * c.width, c.deviation));
  const Tensor x = lab.plain().input(DType::f32, c.rows - first_rows, columns, 1.0f);
  const Residual h = lab.ops().residual(c.rows, reader);
  lab.ops().embed(h, first, lab.ops().silu_linear(x, in, c.rows, out.input), out, next);
  check_residual(lab, h, next);
  const std::vector<float> stream = lab.values(h.h);
  lab.ops().start_residual(h, last);
  lab.ops().euler_step(x, h, last, velocity, 0.3f);
  return {stream, lab.values(x)};
}

// Twice on the device, which must give the same bits, and once on the reference.
template <typename Run>
void check_fused(
    const std::string& op, DType output, const Run& run, std::span<const BlockCase> chosen = cases,
    const std::function<Formats(const BlockCase&)>& formats_of = [](const auto&) { return Formats{}; }) {
  const auto device = fusing_device_or_skip();
  if (!device) return;
  for (const BlockCase& c : chosen) {
    const Formats formats = formats_of(c);
    device->use_formats(formats);
    CAPTURE(c.rows);
    CAPTURE(c.width);
    CAPTURE(c.inner);
    const BlockPlan plan = device->plan_blocks(c.shape());
    REQUIRE(plan.fused);
    CHECK(plan.wide == (c.rows > 128));
    const auto reference = make_reference_device(Precision::f32);
    reference->use_formats(formats);
    FusedLab first(*device, 11, plan), second(*device, 11, plan), expected_lab(*reference, 11, {});
    const Outputs found = run(first, c), again = run(second, c), expected = run(expected_lab, c);
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CAPTURE(i);
      check_close(op, output, found[i], expected[i]);
      CHECK(same_bits(found[i], again[i]));
    }
  }
}

TEST_CASE("cuda block: fused qkv is norm, product and rotation, and writes its slots alone") {
  check_fused("qkv", DType::bf16, run_qkv);
}

TEST_CASE("cuda block: fused gate_up is norm, product and swiglu") {
  check_fused("gate_up", DType::bf16,
              [](FusedLab& lab, const BlockCase& c) { return run_gate_up(lab, c, lab.encoding()); });
}

TEST_CASE("cuda block: fused gate_up writes e4m3 over its scale") {
  check_fused(
      "gate_up", DType::e4m3, [](FusedLab& lab, const BlockCase& c) { return run_gate_up(lab, c, lab.e4m3()); },
      e4m3_cases);
}

TEST_CASE("cuda block: fused qkv in e4m3 reads codes of the stream and divides by its rows' norms") {
  check_fused("qkv_e4m3", DType::bf16, run_qkv, stream_cases, reads_in_e4m3);
}

TEST_CASE("cuda block: fused gate_up in e4m3 likewise, and writes bf16 or e4m3") {
  check_fused(
      "gate_up_e4m3", DType::bf16,
      [](FusedLab& lab, const BlockCase& c) { return run_gate_up(lab, c, lab.encoding()); }, stream_cases,
      reads_in_e4m3);
  check_fused(
      "gate_up_e4m3", DType::e4m3, [](FusedLab& lab, const BlockCase& c) { return run_gate_up(lab, c, lab.e4m3()); },
      stream_cases, reads_in_e4m3);
}

TEST_CASE("cuda block: fused linear_add adds to the stream and leaves what the next norm needs") {
  check_fused("fused_linear_add", DType::f32,
              [](FusedLab& lab, const BlockCase& c) { return run_linear_add(lab, c, "out"); });
  check_fused("fused_linear_add", DType::f32,
              [](FusedLab& lab, const BlockCase& c) { return run_linear_add(lab, c, "down"); });
  check_fused(  // these have other numbers of steps
      "fused_linear_add", DType::f32, [](FusedLab& lab, const BlockCase& c) { return run_linear_add(lab, c, "down"); },
      e4m3_cases);
}

TEST_CASE("cuda block: fused linear_add in e4m3, of a few rows and of the model's shapes") {
  for (const char* name : {"out", "down"}) {
    CAPTURE(name);
    check_fused(
        "linear_add_e4m3", DType::f32, [&](FusedLab& lab, const BlockCase& c) { return run_linear_add(lab, c, name); },
        e4m3_cases, [](const BlockCase&) { return in_e4m3; });
  }
}

TEST_CASE("cuda block: fused linear_add leaves a stream in e4m3 for a norm whose linear reads that") {
  for (const char* name : {"out", "down"}) {
    CAPTURE(name);
    const auto run = [&](FusedLab& lab, const BlockCase& c) { return run_linear_add(lab, c, name); };
    check_fused("fused_linear_add", DType::f32, run, cases, reads_in_e4m3);
    check_fused("linear_add_e4m3", DType::f32, run, e4m3_cases, all_in_e4m3);
  }
}

TEST_CASE("cuda block: of many rows likewise, by wide tiles, in bf16 and e4m3") {
  const auto gate_up = [](FusedLab& lab, const BlockCase& c) { return run_gate_up(lab, c, lab.encoding()); };
  const auto gate_up_e4m3 = [](FusedLab& lab, const BlockCase& c) { return run_gate_up(lab, c, lab.e4m3()); };
  check_fused("qkv", DType::bf16, run_qkv, wide_cases);
  check_fused("gate_up", DType::bf16, gate_up, wide_cases);
  check_fused("gate_up", DType::e4m3, gate_up_e4m3, wide_cases);
  check_fused("qkv", DType::bf16, run_edges, wide_cases);
  check_fused("qkv_e4m3", DType::bf16, run_qkv, wide_cases, all_in_e4m3);
  check_fused("gate_up_e4m3", DType::bf16, gate_up, wide_cases, all_in_e4m3);
  check_fused("gate_up_e4m3", DType::e4m3, gate_up_e4m3, wide_cases, all_in_e4m3);
  for (const char* name : {"out", "down"}) {
    CAPTURE(name);
    const auto add = [&](FusedLab& lab, const BlockCase& c) { return run_linear_add(lab, c, name); };
    check_fused("fused_linear_add", DType::f32, add, wide_cases);
    check_fused("fused_linear_add", DType::f32, add, wide_cases, reads_in_e4m3);
    check_fused("linear_add_e4m3", DType::f32, add, wide_cases, all_in_e4m3);
  }
}

TEST_CASE("cuda block: of linears in e4m3 those that add to the stream of a fused block are fused, no others") {
  const auto device = fusing_device_or_skip();
  if (!device) return;
  Formats formats = in_e4m3;
  formats["velocity"] = {DType::e4m3, test_scale};
  BlockPlan plan;
  const auto fused = [&](const char* name) {
    FusedLab lab(*device, 13, plan);
    const Linear w = lab.linear({.name = name, .outputs = 128, .inputs = 256, .full_output = true, .heads = {}}, true);
    CHECK(w.input == Encoding{DType::e4m3, test_scale, w.fused});
    return w.fused;
  };
  BlockShape shape = e4m3_cases[0].shape();
  device->use_formats(formats);
  plan = device->plan_blocks(shape);
  CHECK_FALSE(plan.fused);  // velocity would be of this block, too
  CHECK_FALSE(fused("out"));
  shape.names = "out";
  plan = device->plan_blocks(shape);
  REQUIRE(plan.fused);
  CHECK(fused("out"));
  CHECK_FALSE(fused("down"));
  CHECK_FALSE(fused("velocity"));
  shape.names = "down";
  shape.inner = 208;  // not whole steps
  const BlockPlan earlier = plan;
  plan = device->plan_blocks(shape);
  CHECK_FALSE(plan.fused);
  CHECK_FALSE(fused("down"));
  plan = earlier;
  CHECK(fused("out"));  // a plan holds whatever is asked after it
}

TEST_CASE("cuda block: a linear in e4m3 whose range of the stream is not known is fused in bf16") {
  const auto device = fusing_device_or_skip();
  if (!device) return;
  const BlockCase& c = cases[0];
  device->use_formats({{"qkv", {DType::e4m3, test_scale}}, {"gate_up", {DType::e4m3, test_scale, 0.5f}}});
  const BlockPlan plan = device->plan_blocks(c.shape());
  REQUIRE(plan.fused);
  FusedLab lab(*device, 14, plan);
  const Linear qkv = lab.linear(qkv_source(c), true), gate_up = lab.linear(gate_up_source(c), true);
  CHECK(qkv.fused);
  CHECK(qkv.input == Encoding{DType::bf16, 1, true});
  CHECK(gate_up.fused);
  CHECK(gate_up.input == Encoding{DType::e4m3, 0.5f, true});
}

TEST_CASE("cuda block: fused edges embed actions behind given rows, and take a step of Euler by what the stream says") {
  check_fused("qkv", DType::bf16, run_edges);
  check_fused("qkv", DType::bf16, run_edges, cases, reads_in_e4m3);
}

TEST_CASE("cuda block: what is embedded behind given rows may come in e4m3") {
  const auto device = fusing_device_or_skip();
  if (!device) return;
  for (const BlockCase& c : {cases[2], wide_cases[1]}) {
    CAPTURE(c.rows);
    const BlockPlan plan = device->plan_blocks(c.shape());
    const auto reference = make_reference_device(Precision::f32);
    for (Device* each : {device.get(), reference.get()}) each->use_formats({{"embed", {DType::e4m3, test_scale}}});
    FusedLab lab(*device, 15, plan), expected_lab(*reference, 15, {});
    const Outputs found = run_edges(lab, c), expected = run_edges(expected_lab, c);
    for (std::size_t i = 0; i < found.size(); ++i) check_close("linear_add_e4m3", DType::f32, found[i], expected[i]);
    device->use_formats({});
  }
}

// A block run again and again on its own stream; `between` is called after each launch.
struct Chain {
  Chain(FusedLab& lab, const BlockCase& c)
      : lab(lab),
        c(c),
        qkv(lab.linear(qkv_source(c), c.bias)),
        out(lab.linear({.name = "out",
                        .outputs = c.width,
                        .inputs = c.heads.query * c.heads.size,
                        .full_output = true,
                        .heads = {}},
                       false)),
        gate_up(lab.linear(gate_up_source(c), false)),
        down(lab.linear({.name = "down", .outputs = c.width, .inputs = c.inner, .full_output = true, .heads = {}},
                        false)),
        first(lab.plain().device().fold(draw_norm(lab, c.width, true), qkv)),
        second(lab.plain().device().fold(draw_norm(lab, c.width, true), gate_up)),
        h(draw_residual(lab, c.rows, qkv, c.deviation)),
        at(draw_positions(lab, c.rows)),
        cache(poisoned_cache(lab, c.rows + 3, c.heads)) {
    std::vector<std::int32_t> seen;
    const auto end = static_cast<std::int32_t>(c.rows) + 3;
    for (std::int64_t r = 0; r < c.rows; ++r) seen.insert(seen.end(), {0, 0, 3, end});
    ranges = lab.plain().integers(c.rows, 4, seen);
  }

  template <typename Between>
  void run(const Between& between) {
    const auto scope = lab.ops().scope();
    Ops& ops = lab.ops();
    ops.start_residual(h, first), between();
    for (int layer = 0; layer < 6; ++layer) {
      const auto layer_scope = ops.scope();
      const Tensor q = ops.qkv(h, first, qkv, at.rope, cache, at.slots);
      between();
      const Tensor attended = ops.attention(q, cache, ranges, c.heads, out.input);
      between();
      ops.linear_add(h, attended, out, {}, second), between();
      const Tensor inner = ops.gate_up(h, second, gate_up, down.input);
      between();
      ops.linear_add(h, inner, down, {}, first), between();
    }
  }

  FusedLab& lab;
  const BlockCase& c;
  Linear qkv, out, gate_up, down;
  Norm first, second;
  Residual h;
  Positions at;
  KeyValues cache;
  Tensor ranges;
};

void check_chain(const Formats& formats) {
  const auto device = fusing_device_or_skip();
  if (!device) return;
  device->use_formats(formats);
  for (const BlockCase& c : {cases[2], cases[4], cases[5], wide_cases[1], wide_cases[3]}) {
    CAPTURE(c.rows);
    const BlockPlan plan = device->plan_blocks(c.shape());
    REQUIRE(plan.fused);
    FusedLab lab(*device, 12, plan);
    Chain chain(lab, c);
    for (const Linear* w : {&chain.qkv, &chain.out, &chain.gate_up, &chain.down})
      CHECK(w->input.dtype == (formats.contains(w->name) ? DType::e4m3 : DType::bf16));
    const std::vector<float> start = lab.values(chain.h.h);
    chain.run([&] { device->synchronize(); });
    const std::vector<float> expected = lab.values(chain.h.h);
    for (const float value : expected) REQUIRE(std::isfinite(value));
    CHECK_FALSE(same_bits(start, expected));
    const auto graph = device->capture([&] { chain.run([] {}); });
    for (int round = 0; round < 20; ++round) {
      device->upload(chain.h.h, start.data());
      if (round % 2 == 0) graph->launch();
      else chain.run([] {});
      CHECK(same_bits(lab.values(chain.h.h), expected));
    }
  }
}

TEST_CASE("cuda block: chained launches wait for each other: the bits of launches one at a time") { check_chain({}); }

TEST_CASE("cuda block: chained launches wait for each other in e4m3 too, of some linears or of all") {
  check_chain(in_e4m3);
  Formats formats = {{"gate_up", {DType::e4m3, 1, 0.05f}}};
  check_chain(formats);  // the stream changes its format from norm to norm
  formats["qkv"] = {DType::e4m3, 1, 0.1f};
  check_chain(formats);
  formats.insert(in_e4m3.begin(), in_e4m3.end());
  check_chain(formats);
}

}  // namespace
}  // namespace nervus
