// What a person sees of the server: recent latencies, the last chunk, the cameras as the model saw them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "nervus/observation.h"
#include "nervus/policy.h"
#include "serve/scheduler.h"

namespace nervus::serve {

class Status {
 public:
  // From any thread: what a call took and gave.
  void record(const std::map<std::string, double>& timing, const ActionChunk& chunk);

  // Whether the cameras should be shown again: somebody looks, and what is shown is old. Costs nothing otherwise.
  bool wants_cameras() const;
  // At `side` x `side` pixels, resized as for the model.
  void show_cameras(const Observation& observation, int side);
  // The last image of a camera, as a BMP; none if there is no such camera.
  std::optional<std::string> camera(std::string_view name) const;

  // {"requests_per_second", "latency_ms": {stage: {"p50", "p99", "last", "samples"}}, "cameras": [{"name", "frame"}],
  // "chunk": {"steps", "dimensions", "names", "units", "values"}}; whoever asks looks, for a while.
  nlohmann::ordered_json document();

 private:
  static constexpr std::size_t most_samples = 512;
  static constexpr Clock::duration look = std::chrono::seconds(5), pause = std::chrono::milliseconds(500);

  mutable std::mutex mutex_;
  std::map<std::string, std::deque<double>> samples_;
  std::deque<Clock::time_point> times_;  // of the last replies
  ActionChunk chunk_;
  std::map<std::string, std::string, std::less<>> cameras_;  // name -> BMP
  std::uint64_t frame_ = 0;
  Clock::time_point looked_, shown_;
};

// The page at /, which reads /status.
extern const std::string_view page_html, page_css, page_js;

}  // namespace nervus::serve
