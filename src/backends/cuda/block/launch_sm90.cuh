// Launching the product of a block.
#pragma once

#include "backends/cuda/block/kernels.h"
#include "backends/cuda/block/product_sm90.cuh"
#include "backends/cuda/launch.cuh"

namespace nervus::cuda {

// function(Type<T>) with the element type of what a fused kernel reads or writes.
template <typename Function>
void with_element(DType dtype, const Function& function) {
  if (dtype == DType::e4m3) function(Type<__nv_fp8_e4m3>{});
  else function(Type<__nv_bfloat16>{});
}

// `Last`: the steps of the last warpgroup at the inputs that the kernel is meant for. With as many, a thread knows
// which of its loads it need not ask about.
template <int N, int C, int Steps, int Last = Steps, typename T = __nv_bfloat16, typename Epilogue>
void launch_block(const Stream& stream, const Linear& w, const Tensor& x, const Tensor& squares,
                  const Epilogue& epilogue, Next next = Next::behind_the_wait) {
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
                                   .inverse_width = 1.0f / static_cast<float>(x.columns),
                                   .next = next,
                                   .trace = trace_launch(name_of(layout.role), x.columns)};
  const auto start_for = [&]<int Sure, bool Crowded>() {
    constexpr bool reuse = Crowded && sizeof(T) == 2;
    constexpr auto kernel = block_product<T, N, C, Steps, Sure, Epilogue, reuse>;
    constexpr unsigned threads = Crowded ? block_threads : launched_threads<T>;
    launch(stream,
           {.blocks = dim3(static_cast<unsigned>(layout.tiles() * C), blocks_for(x.rows, 64)),
            .threads = threads,
            .shared = ProductShared<N, C, Steps, Epilogue, reuse>::bytes,
            .cluster = C},
           kernel, arguments, epilogue);
  };
  const auto start = [&]<int Sure>() {
    if constexpr (crowds(N)) {
      if (arguments.rows > 64) return start_for.template operator()<Sure, true>();
    }
    start_for.template operator()<Sure, false>();
  };
  const std::int64_t last = x.columns / step_inputs(sizeof(T)) - (BlockLayout::warpgroups * C - 1) * Steps;
  if (last == Steps) return start.template operator()<Steps>();
  if constexpr (Last < Steps) {
    if (last >= Last) return start.template operator()<Last>();
  }
  start.template operator()<0>();
}

}  // namespace nervus::cuda
