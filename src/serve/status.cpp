#include "serve/status.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

namespace nervus::serve {

void Status::record(const std::map<std::string, double>& timing, const ActionChunk& chunk) {
  const std::lock_guard lock(mutex_);
  for (const auto& [stage, milliseconds] : timing) {
    std::deque<double>& samples = samples_[stage];
    samples.push_back(milliseconds);
    if (samples.size() > most_samples) samples.pop_front();
  }
  chunk_ = chunk;
}

nlohmann::ordered_json Status::document() const {
  using Json = nlohmann::ordered_json;
  const std::lock_guard lock(mutex_);
  Json latency = Json::object();
  for (const auto& [stage, samples] : samples_) {
    std::vector<double> sorted(samples.begin(), samples.end());
    std::sort(sorted.begin(), sorted.end());
    const auto percentile = [&](double share) {
      const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
      return sorted[std::max<std::size_t>(rank, 1) - 1];
    };
    latency[stage] = {
        {"p50", percentile(0.5)}, {"p99", percentile(0.99)}, {"last", samples.back()}, {"samples", samples.size()}};
  }
  Json chunk = nullptr;
  if (chunk_.steps > 0)
    chunk = {{"steps", chunk_.steps},
             {"dimensions", chunk_.dimensions},
             {"names", chunk_.names},
             {"units", chunk_.units},
             {"values", chunk_.values}};
  return {{"latency_ms", latency}, {"chunk", chunk}};
}

}  // namespace nervus::serve
