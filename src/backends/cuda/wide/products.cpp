#include "backends/cuda/wide/products.h"

#include <algorithm>

#include "backends/cuda/cold_clock.h"
#include "backends/cuda/kernels.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

// As the kernels want it; `x` is that of a call.
struct PackedWide {
  WideRole role;
  Tensor weight, scale, bias;

  WideProduct times(const Tensor& x) const { return {x, weight, scale, bias}; }
  // Of a stream before its norm, or of that norm.
  WideProduct times(const Residual& h, const Norm& norm, const Linear& w) const {
    if (!w.fused) return times(h.scaled);
    return {h.scaled, weight, scale, norm.folded, h.squares};
  }
};

const PackedWide& packed_of(const Linear& w) { return *static_cast<const PackedWide*>(w.weight.get()); }

WideRole role_of(const LinearSource& source, const Linear& w) {
  if (source.gate_up) return w.fused ? WideRole::fused_gate_up : WideRole::gate_up;
  if (w.heads.size > 0) return w.fused ? WideRole::fused_qkv : WideRole::qkv;
  return w.fused ? WideRole::fused_add : WideRole::add;
}

// In the plan.
const char* text_of(WideRole role) {
  switch (role) {
    case WideRole::qkv: return "qkv";
    case WideRole::gate_up: return "gate and up";
    case WideRole::fused_qkv: return "fused qkv";
    case WideRole::fused_gate_up: return "fused gate and up";
    case WideRole::fused_add: return "added to a fused stream";
    case WideRole::add: break;  // Linears has those
  }
  return "added";
}

}  // namespace

std::string time_of(const Choice& choice) {
  const std::int64_t tenths = choice.nanoseconds / 100;
  return concat(tenths / 10, ".", tenths % 10, " us");
}

void take_scale(const Stream& stream, const Tensor& weight, const Linear& w) {
  if (w.input.scale == 1.0f) return;
  const float most = largest_float16 / w.input.scale, found = largest(stream, weight);
  if (!(found <= most)) {
    fail(ErrorKind::checkpoint, w.name, ": expected weights of at most ", static_cast<int>(most),
         ", the range of f16, found ", found, ": use --precision bf16, or a recipe that leaves this linear in bf16");
  }
  Tensor scaled = weight;
  scaled.scale = 1.0f / w.input.scale;
  gather_rows(stream, scaled, weight, {});
}

std::string format_of(DType dtype) {
  return dtype == DType::bf16 || dtype == DType::f32 ? "" : concat(" ", name_of(dtype));
}

bool is_tile_for(const Choice& choice, WideRole role, const Tensor& weight) {
  const std::span<const WideTile> tiles = wide_tiles(role);
  return choice.kernel == Choice::Kernel::tile && std::ranges::find(tiles, choice.tile) != tiles.end() &&
         wide_fits(choice.tile, weight.columns, weight.dtype);
}

Choice fastest_tile(const Stream& stream, WideRole role, const Tensor& weight,
                    const std::function<void(const WideTile&)>& launch) {
  const ColdClock clock(stream);
  Choice best{.kernel = Choice::Kernel::tile};
  float least = 0;
  for (const WideTile& tile : wide_tiles(role)) {
    if (!wide_fits(tile, weight.columns, weight.dtype)) continue;
    launch(tile);  // loads the kernel
    const float time = clock.microseconds([&] { launch(tile); });
    if (least == 0 || time < least) best.tile = tile, least = time;
  }
  best.nanoseconds = nanoseconds_of(least);
  return best;
}

bool WideProducts::fits(const LinearSource& source, const Linear& w) const {
  return stream_.major() == 9 && (source.gate_up || w.heads.size > 0) && w.output == DType::bf16 &&
         wide_fits(role_of(source, w), w.outputs, w.inputs, w.heads.size, w.input.dtype);
}

std::shared_ptr<const void> WideProducts::pack(const LinearSource& source, const Linear& w, Staging& staging) {
  auto packed = std::make_shared<PackedWide>();
  packed->role = role_of(source, w);
  const auto kept = [&](Tensor x) {
    x.data = arena_.allocate(x.bytes());
    return x;
  };
  const bool eight_bits = size_of(w.input.dtype) == 1;
  Tensor rows{nullptr, eight_bits ? DType::bf16 : w.input.dtype, w.outputs, w.inputs}, ordered = rows;
  const DeviceBuffer memory = device_buffer(rows.bytes());
  rows.data = memory.get();
  source.read_weight(rows.dtype, staging.take(rows.bytes()));
  staging.copy(rows.data, rows.bytes());
  packed->weight = kept({nullptr, w.input.dtype, w.outputs, w.inputs});
  DeviceBuffer more;
  if (eight_bits) {
    more = device_buffer(ordered.bytes());
    ordered.data = more.get();
  } else {
    ordered = packed->weight;
  }
  wide_pack(stream_, ordered, rows, packed->role, w.heads.size);
  if (eight_bits) {
    packed->scale = kept({nullptr, DType::f32, 1, w.outputs});
    quantise_rows(stream_, packed->weight, packed->scale, ordered, w.input.scale);
  } else {
    take_scale(stream_, packed->weight, w);
  }
  if (w.bias) {
    packed->bias = kept(w.bias);
    wide_pack(stream_, packed->bias, w.bias, packed->role, w.heads.size);
  }
  stream_.synchronize();  // before `memory` goes
  return packed;
}

void WideProducts::run(WideRole role, const WideProduct& product, const Launch& launch, const Launch& trial) {
  const Tensor& weight = product.weight;
  const Key key{static_cast<std::int64_t>(role), weight.rows, weight.columns, product.x.rows,
                static_cast<std::int64_t>(weight.dtype)};
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    stream_.use();
    const std::string shape =
        concat(beginning_of(role), weight.rows, " ", weight.columns, " ", product.x.rows, " ", name_of(weight.dtype));
    const Choice& choice = choices_.choose(
        shape, [&](const Choice& kept) { return is_tile_for(kept, role, weight); },
        [&] { return fastest_tile(stream_, role, weight, trial); });
    const std::string line =
        concat(weight.rows, " x ", weight.columns, format_of(weight.dtype), ", ", plural(product.x.rows, "row"), ": ",
               text_of(role), " by tiles of ", name_of(choice.tile), ", ", time_of(choice));
    found = plans_.emplace(key, Plan{choice.tile, line}).first;
  }
  launch(found->second.tile);
}

void WideProducts::fold(const Tensor& folded, const Linear& w, const Tensor& shift) {
  wide_fold(stream_, folded, packed_of(w).times({}), shift, w.input.scale);
}

void WideProducts::qkv(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Residual& h,
                       const Norm& norm, const Linear& w, const Rope& rope) {
  const WideProduct product = packed_of(w).times(h, norm, w);
  const Launch launch = [&](const WideTile& tile) { wide_qkv(stream_, tile, q, cache, slots, product, w.heads, rope); };
  run(packed_of(w).role, product, launch, launch);
}

void WideProducts::gate_up(const Tensor& y, const Residual& h, const Norm& norm, const Linear& w) {
  const WideProduct product = packed_of(w).times(h, norm, w);
  const Launch launch = [&](const WideTile& tile) { wide_gate_up(stream_, tile, y, product); };
  run(packed_of(w).role, product, launch, launch);
}

void WideProducts::linear_add(const Residual& h, const Tensor& x, const Linear& w, const Tensor& gate,
                              const Norm& next) {
  const WideProduct product = packed_of(w).times(x);
  DeviceBuffer memory;
  const auto add_to = [&](const Residual& stream, const WideTile& tile) {
    wide_fused_add(stream_, tile, stream, product, gate, next.scale);
  };
  Residual other = h;  // for trials, which would add to it again and again
  const Launch launch = [&](const WideTile& tile) { add_to(h, tile); };
  run(WideRole::fused_add, product, launch, [&](const WideTile& tile) {
    if (!memory) memory = cleared_buffer(stream_, h.h.bytes());
    other.h.data = memory.get();
    add_to(other, tile);
  });
}

std::vector<std::string> WideProducts::plan() const {
  std::vector<std::string> lines;
  for (const auto& [key, plan] : plans_) lines.push_back(plan.line);
  return lines;
}

}  // namespace nervus::cuda
