// Graphs: work on a stream, recorded once and launched again and again.
#pragma once

#include <functional>
#include <memory>

#include "backends/cuda/handles.h"
#include "backends/device.h"

namespace nervus::cuda {

// Runs `work` once, so that all it chooses and loads lazily is there, then records it.
std::unique_ptr<Graph> capture_graph(const Stream& stream, const std::function<void()>& work);

}  // namespace nervus::cuda
