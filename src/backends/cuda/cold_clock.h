// How long a launch takes where its weights come from memory, as they do in a model: for choices made at load.
#pragma once

#include <cmath>
#include <functional>

#include "backends/cuda/handles.h"

namespace nervus::cuda {

inline std::int64_t nanoseconds_of(float microseconds) { return std::llround(microseconds * 1000.0f); }

class ColdClock {
 public:
  explicit ColdClock(const Stream& stream)
      : stream_(stream),
        cold_(device_buffer(bytes)),
        begin_(make_event(cudaEventDefault)),
        end_(make_event(cudaEventDefault)) {}

  // The least of some launches, in microseconds.
  float microseconds(const std::function<void()>& launch) const {
    float least = 0;
    for (int i = 0; i < repetitions; ++i) {
      check_cuda(cudaMemsetAsync(cold_.get(), i, bytes, stream_.get()), "clearing the cache");
      check_cuda(cudaEventRecord(begin_.get(), stream_.get()), "noting the time");
      launch();
      check_cuda(cudaEventRecord(end_.get(), stream_.get()), "noting the time");
      check_cuda(cudaEventSynchronize(end_.get()), "measuring a product");
      float milliseconds = 0;
      check_cuda(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "measuring a product");
      if (i == 0 || milliseconds < least) least = milliseconds;
    }
    return least * 1000;
  }

 private:
  static constexpr int repetitions = 4;
  static constexpr std::int64_t bytes = std::int64_t{128} << 20;  // overwritten between two launches

  const Stream& stream_;
  DeviceBuffer cold_;
  Event begin_, end_;
};

}  // namespace nervus::cuda
