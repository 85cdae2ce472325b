#include "runtime/graphs.h"

namespace nervus {
namespace {

constexpr std::int64_t any = 0;  // the extent of a graph that holds none

}  // namespace

Graphs::Graphs(Model& model, Device& device, std::size_t schedules, const std::function<void(std::size_t)>& progress)
    : shapes_(model.call_shapes()) {
  const auto capture = [&](std::size_t stage, std::vector<std::int64_t> extents, std::int64_t CallShape::*extent,
                           const std::function<void()>& work) {
    const bool held = !extents.empty();
    if (!held) extents.push_back(any);
    for (const std::int64_t value : extents) {
      CallShape shape = shapes_.largest();
      if (held) shape.*extent = value;
      model.lay_out(shape);
      graphs_[{stage, value}] = device.capture(work);
      if (progress) progress(count());
    }
  };
  capture(0, shapes_.views(), &CallShape::views, [&model] { model.vision(); });
  capture(1, shapes_.prefix_rows(), &CallShape::prefix_rows, [&model] { model.prefix(); });
  for (std::size_t i = 0; i < schedules; ++i) {
    capture(2 + i, shapes_.batch(), &CallShape::batch, [&model, i] { model.denoise(i); });
  }
}

void Graphs::launch(std::size_t stage, const std::vector<std::int64_t>& extents, std::int64_t extent) {
  if (extent > 0) graphs_.at({stage, extents.empty() ? any : extent})->launch();
}

}  // namespace nervus
