// Graphs: the stages of a model, captured when it is loaded for every extent that a call can have (call_shape.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "models/model.h"

namespace nervus {

class Graphs {
 public:
  // `schedules`: step counts that the model denoises with. `progress` (unless empty) is told how many were captured.
  Graphs(Model& model, Device& device, std::size_t schedules, const std::function<void(std::size_t)>& progress);

  std::size_t count() const { return graphs_.size(); }
  // Start a stage of the call that the model laid out, whose extents are `shape`.
  void vision(const CallShape& shape) { launch(0, shapes_.views(), shape.views); }
  void prefix(const CallShape& shape) { launch(1, shapes_.prefix_rows(), shape.prefix_rows); }
  void denoise(const CallShape& shape, std::size_t schedule) { launch(2 + schedule, shapes_.batch(), shape.batch); }

 private:
  using Key = std::pair<std::size_t, std::int64_t>;  // stage and extent

  void launch(std::size_t stage, const std::vector<std::int64_t>& extents, std::int64_t extent);

  CallShapes shapes_;
  std::map<Key, std::unique_ptr<Graph>> graphs_;
};

}  // namespace nervus
