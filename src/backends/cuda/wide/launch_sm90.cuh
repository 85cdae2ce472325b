// Launching the product of a wide linear.
#pragma once

#include <algorithm>
#include <utility>

#include "backends/cuda/device/tensor_map.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/wide/kernels.h"
#include "backends/cuda/wide/persistent_sm90.cuh"
#include "backends/cuda/wide/product_sm90.cuh"

namespace nervus::cuda {

template <typename T, typename Tile, typename Epilogue>
constexpr auto wide_kernel() {
  if constexpr (Tile::persistent) return wide_persistent<T, Tile, Epilogue>;
  else return wide_product<T, Tile, Epilogue>;
}

template <typename Tile, typename T, typename Epilogue>
void launch_wide(const Stream& stream, const WideProduct& product, const Tensor& gate, const Epilogue& epilogue) {
  static_assert(Tile::share_w == 1 || Tile::share_x == 1);
  constexpr int step = wide_step_bytes / static_cast<int>(sizeof(T));
  const auto rows = static_cast<int>(product.x.rows), outputs = static_cast<int>(product.weight.rows);
  const unsigned across = blocks_for(rows, static_cast<std::int64_t>(Tile::rows) * Tile::share_w);
  const unsigned along = blocks_for(outputs, static_cast<std::int64_t>(Tile::columns) * Tile::share_x);
  Shape shape{.blocks = dim3(across * along * Tile::cluster),
              .threads = Tile::threads,
              .shared = WideShared<Tile>::bytes,
              .cluster = Tile::cluster};
  constexpr auto kernel = wide_kernel<T, Tile, Epilogue>();
  if constexpr (Tile::persistent) shape.blocks.x = std::min(shape.blocks.x, blocks_at_once(stream, shape, kernel));
  const WideArguments arguments{.rows = rows,
                                .outputs = outputs,
                                .steps = static_cast<int>(blocks_for(product.x.columns, step)),
                                .across = static_cast<int>(across),
                                .tiles = static_cast<int>(across * along),
                                .scale = data<const float>(product.scale),
                                .bias = data<const float>(product.bias),
                                .gate = data<const float>(gate),
                                .row_scales = product.x.row_scales,
                                .squares = data<const float>(product.squares),
                                .parts = static_cast<int>(product.squares.columns),
                                .inverse_width = 1.0f / static_cast<float>(product.x.columns),
                                .trace = trace_launch(Epilogue::name, product.x.columns)};
  launch(stream, shape, kernel, tensor_map(product.x, Tile::rows / Tile::share_x),
         tensor_map(product.weight, Tile::columns / Tile::share_w), arguments, epilogue);
}

// The kernel of one of `tiles`.
template <const auto& tiles, typename Epilogue>
void launch_wide(const Stream& stream, const WideTile& tile, const WideProduct& product, const Tensor& gate,
                 const Epilogue& epilogue) {
  check(product.x.columns == product.weight.columns && product.x.dtype == product.weight.dtype,
        "a wide product has inputs as its weight");
  check(product.x.dtype != DType::i8 || product.x.row_scales != nullptr, "rows of int8 have scales of their own");
  const auto with = [&]<std::size_t i>() {
    constexpr WideTile t = tiles[i];
    using Tile = WideCut<t.rows, t.columns, t.share_w, t.share_x, t.split, t.persistent>;
    if (tile != t) return false;
    if (product.x.dtype == DType::e4m3) launch_wide<Tile, __nv_fp8_e4m3>(stream, product, gate, epilogue);
    else if (product.x.dtype == DType::bf16) launch_wide<Tile, __nv_bfloat16>(stream, product, gate, epilogue);
    else if constexpr (Epilogue::fused) return false;
    else if (product.x.dtype == DType::i8) launch_wide<Tile, std::int8_t>(stream, product, gate, epilogue);
    else launch_wide<Tile, __half>(stream, product, gate, epilogue);
    return true;
  };
  const bool found = [&]<std::size_t... i>(std::index_sequence<i...>) { return (with.template operator()<i>() || ...); }
  (std::make_index_sequence<std::size(tiles)>{});
  check(found, "the tile and the format are among those that are compiled");
}

}  // namespace nervus::cuda
