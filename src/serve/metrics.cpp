#include "serve/metrics.h"

#include <charconv>
#include <cmath>

#include "core/check.h"

namespace nervus::serve {
namespace {

std::string number(double value) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return {digits.data(), end};
}

std::string in_braces(const std::string& labels, const std::string& more = "") {
  if (labels.empty() && more.empty()) return "";
  return "{" + labels + (labels.empty() || more.empty() ? "" : ",") + more + "}";
}

}  // namespace

Metrics::Metrics() {
  // From a fast stage on a GPU to the largest model on a processor.
  const std::vector<double> seconds = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
                                       0.1,    0.15,  0.25,  0.5,   1,    2.5,   5,    10,   30};
  const std::vector<double> sizes = {1, 2, 4, 8, 16, 32};
  families_ = {
      {"nervus_requests_total", {"Requests that got their reply, by outcome", "counter", {}, {}}},
      {"nervus_request_seconds", {"From a request's arrival to its reply", "histogram", seconds, {}}},
      {"nervus_queue_seconds", {"From a request's arrival to its call", "histogram", seconds, {}}},
      {"nervus_stage_seconds", {"Of one call, by stage", "histogram", seconds, {}}},
      {"nervus_batch_size", {"Requests that one call computed", "histogram", sizes, {}}},
      {"nervus_guard_clamped_total", {"Action values cut to a limit or rate", "counter", {}, {}}},
      {"nervus_guard_tripped_total", {"Requests that the guard gave no actions, by reason", "counter", {}, {}}},
      {"nervus_deadline_exceeded_total", {"Requests whose deadline passed before their reply", "counter", {}, {}}},
      {"nervus_connections_total", {"Connections, by what became of them", "counter", {}, {}}},
      {"nervus_connections", {"Connections that are open", "gauge", {}, {{"", {}}}}},
      {"nervus_sessions", {"Websocket sessions that are open", "gauge", {}, {{"", {}}}}},
      {"nervus_waiting", {"Requests that wait for a replica", "gauge", {}, {{"", {}}}}},
      {"nervus_running", {"Requests that are being computed", "gauge", {}, {{"", {}}}}},
      {"nervus_replicas", {"Replicas of the policy", "gauge", {}, {{"", {}}}}},
      {"nervus_replica_requests_total", {"Requests that a replica computed", "counter", {}, {}}},
      {"nervus_ready", {"1 where requests are taken", "gauge", {}, {{"", {}}}}},
      {"nervus_recorded_total", {"Requests that were recorded", "counter", {}, {}}},
      {"nervus_record_dropped_total", {"Requests that were not recorded, by reason", "counter", {}, {}}},
      {"nervus_record_bytes", {"Bytes of the recording", "gauge", {}, {{"", {}}}}},
      {"process_resident_memory_bytes", {"Resident memory", "gauge", {}, {{"", {}}}}},
      {"process_open_fds", {"Open file descriptors", "gauge", {}, {{"", {}}}}},
  };
}

Metrics::Family& Metrics::family(std::string_view name) {
  const auto found = families_.find(name);
  check(found != families_.end(), "a metric is in the table of metrics.cpp");
  return found->second;
}

void Metrics::add(std::string_view name, const std::string& labels, double amount) {
  const std::lock_guard lock(mutex_);
  family(name).series[labels].value += amount;
}

void Metrics::set(std::string_view name, double value) {
  const std::lock_guard lock(mutex_);
  family(name).series[""].value = value;
}

void Metrics::observe(std::string_view name, const std::string& labels, double value) {
  const std::lock_guard lock(mutex_);
  Family& histogram = family(name);
  Series& series = histogram.series[labels];
  series.buckets.resize(histogram.bounds.size());
  series.value += value;
  ++series.count;
  for (std::size_t i = 0; i < histogram.bounds.size(); ++i) series.buckets[i] += value <= histogram.bounds[i];
}

double Metrics::value(std::string_view name, const std::string& labels) const {
  const std::lock_guard lock(mutex_);
  const auto found = families_.find(name);
  if (found == families_.end()) return std::nan("");
  const auto series = found->second.series.find(labels);
  if (series == found->second.series.end()) return 0;
  return found->second.bounds.empty() ? series->second.value : static_cast<double>(series->second.count);
}

std::map<std::string, double> Metrics::values(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, double> values;
  if (const auto found = families_.find(name); found != families_.end())
    for (const auto& [labels, series] : found->second.series) values[labels] = series.value;
  return values;
}

std::pair<std::uint64_t, double> Metrics::total(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = families_.find(name);
  if (found == families_.end() || !found->second.series.contains("")) return {};
  const Series& series = found->second.series.at("");
  return {series.count, series.value};
}

std::string Metrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    out += "# HELP " + name + " " + family.help + "\n# TYPE " + name + " " + family.type + "\n";
    for (const auto& [labels, series] : family.series) {
      if (family.bounds.empty()) {
        out += name + in_braces(labels) + " " + number(series.value) + "\n";
        continue;
      }
      for (std::size_t i = 0; i < family.bounds.size(); ++i)
        out += name + "_bucket" + in_braces(labels, "le=\"" + number(family.bounds[i]) + "\"") + " " +
               std::to_string(series.buckets[i]) + "\n";
      out += name + "_bucket" + in_braces(labels, "le=\"+Inf\"") + " " + std::to_string(series.count) + "\n";
      out += name + "_sum" + in_braces(labels) + " " + number(series.value) + "\n";
      out += name + "_count" + in_braces(labels) + " " + std::to_string(series.count) + "\n";
    }
  }
  return out;
}

}  // namespace nervus::serve
