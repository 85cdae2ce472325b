// What a person sees of the server: recent latencies, sessions, the last chunk, the cameras as the model saw them.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "nervus/observation.h"
#include "nervus/policy.h"

namespace nervus::serve {

class Status {
 public:
  // From any thread: what a call took and gave.
  void record(const std::map<std::string, double>& timing, const ActionChunk& chunk);

  // {"latency_ms": {stage: {"p50", "p99", "last"}}, "chunk": {"steps", "names", "units", "values"}}
  nlohmann::ordered_json document() const;

 private:
  static constexpr std::size_t most_samples = 512;

  mutable std::mutex mutex_;
  std::map<std::string, std::deque<double>> samples_;
  ActionChunk chunk_;
};

// The page at /, which reads /status.
extern const std::string_view page_html;

}  // namespace nervus::serve
