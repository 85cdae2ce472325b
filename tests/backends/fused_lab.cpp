#include "fused_lab.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "backends/cuda/block/layout.h"

namespace nervus {
namespace {

constexpr std::int64_t workspace_bytes = std::int64_t{32} << 20;

Workspace make_poisoned(Device& device) {
  void* memory = device.allocate(workspace_bytes);
  const std::vector<unsigned char> poison(static_cast<std::size_t>(workspace_bytes), 0xff);
  device.upload({memory, DType::u8, 1, workspace_bytes}, poison.data());
  return {memory, workspace_bytes};
}

}  // namespace

FusedLab::FusedLab(Device& device, std::uint64_t seed, const BlockPlan& plan)
    : lab_(device, seed),
      plan_(plan),
      workspace_(make_poisoned(device)),
      ops_(device.kernels(), workspace_, device.activation()) {}

std::vector<float> FusedLab::draw(std::int64_t count, float deviation, float mean) {
  std::vector<float> values = lab_.random_values(count, deviation, mean);
  for (float& value : values) value = to_float(to_bfloat16(value));
  return values;
}

Tensor FusedLab::rows(std::int64_t rows, std::int64_t columns, std::vector<float> values, const Encoding& encoding) {
  for (float& value : values) value /= encoding.scale;
  if (!encoding.tiled) {
    Tensor x = lab_.input(encoding.dtype, rows, columns, values);
    x.scale = encoding.scale;
    return x;
  }
  const auto element = static_cast<int>(size_of(encoding.dtype));
  const std::int64_t padded = (rows + Tensor::tile_rows - 1) / Tensor::tile_rows * Tensor::tile_rows;
  std::vector<float> tiled(static_cast<std::size_t>(padded * columns), std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    tiled[static_cast<std::size_t>(cuda::tiled_offset(i / columns, i % columns, columns, element))] =
        values[static_cast<std::size_t>(i)];
  }
  Tensor x = lab_.input(encoding.dtype, padded, columns, tiled);
  x.rows = rows;
  x.scale = encoding.scale;
  x.tiled = true;
  return x;
}

std::vector<float> FusedLab::values(const Tensor& x) {
  if (!x.tiled) return lab_.values(x);
  Tensor all = x;
  all.rows = (x.rows + Tensor::tile_rows - 1) / Tensor::tile_rows * Tensor::tile_rows;
  const std::vector<float> tiled = lab_.values(all);
  const auto element = static_cast<int>(size_of(x.dtype));
  std::vector<float> found(static_cast<std::size_t>(x.count()));
  for (std::int64_t i = 0; i < x.count(); ++i) {
    found[static_cast<std::size_t>(i)] =
        tiled[static_cast<std::size_t>(cuda::tiled_offset(i / x.columns, i % x.columns, x.columns, element))];
  }
  return found;
}

Linear FusedLab::linear(LinearSource shape, bool bias) { return make(std::move(shape), bias, &plan_); }

Linear FusedLab::edge(LinearSource shape, bool bias) {
  const BlockPlan* block = plan_.wide && !shape.silu ? nullptr : &plan_;
  return make(std::move(shape), bias, block);
}

Linear FusedLab::make(LinearSource shape, bool bias, const BlockPlan* block) {
  const std::int64_t count = shape.inputs * shape.outputs;
  const std::vector<float> weight = draw(count, 1.0f / std::sqrt(static_cast<float>(shape.inputs)));
  const std::vector<float> offsets = draw(shape.outputs, 1.0f);
  if (shape.name.empty()) shape.name = "weight";
  shape.block = block;
  shape.read_weight = [&](DType to, void* target) { convert(DType::f32, weight.data(), to, target, count); };
  if (bias) shape.read_bias = [&](float* target) { std::copy(offsets.begin(), offsets.end(), target); };
  return lab_.device().make_linear(shape);
}

}  // namespace nervus
