// Launching the product of a block.
#pragma once

#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/product_sm90.cuh"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {

template <int N, int C, int Steps, typename T = __nv_bfloat16, typename Epilogue>
void launch_block(const Stream& stream, const Linear& w, const Tensor& x, const Tensor& squares,
                  const Epilogue& epilogue) {
  const auto& product = *static_cast<const BlockProduct*>(w.weight.get());
  const BlockLayout& layout = product.layout;
  check(layout.columns == N && layout.cluster == C && layout.steps == Steps && layout.element == sizeof(T),
        "the layout is this kernel's");
  const ProductArguments arguments{.x = x.data,
                                   .weight = product.packed,
                                   .squares = data<const float>(squares),
                                   .rows = static_cast<int>(x.rows),
                                   .inputs = static_cast<int>(x.columns),
                                   .parts = static_cast<int>(squares.columns),
                                   .inverse_width = 1.0f / static_cast<float>(x.columns)};
  const auto start = [&](auto* kernel) {
    launch(stream,
           {.blocks = dim3(static_cast<unsigned>(layout.tiles() * C), blocks_for(x.rows, 64)),
            .threads = block_threads,
            .shared = ProductShared<N, C, Steps, Epilogue>::bytes,
            .cluster = C},
           kernel, arguments, epilogue);
  };
  if (x.columns == step_inputs(sizeof(T)) * BlockLayout::warpgroups * C * Steps) {
    start(block_product<T, N, C, Steps, true, Epilogue>);
  } else {
    start(block_product<T, N, C, Steps, false, Epilogue>);
  }
}

}  // namespace nervus::cuda
