// Counters, gauges and histograms, printed in Prometheus' text format. Used by all threads.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace nervus::serve {

class Metrics {
 public:
  Metrics();

  // `labels`: "" or "stage=\"vision\"". The name must be one of metrics.cpp's table.
  void add(std::string_view name, const std::string& labels = "", double amount = 1);
  void set(std::string_view name, double value);
  void observe(std::string_view name, const std::string& labels, double value);

  double value(std::string_view name, const std::string& labels = "") const;
  // Of a counter: labels -> value.
  std::map<std::string, double> values(std::string_view name) const;
  // Of a histogram without labels: what was observed, and their sum.
  std::pair<std::uint64_t, double> total(std::string_view name) const;
  std::string text() const;

 private:
  struct Series {
    double value = 0;                    // of a counter or gauge; of a histogram, the sum
    std::uint64_t count = 0;             // of a histogram
    std::vector<std::uint64_t> buckets;  // of a histogram, one a bound
  };
  struct Family {
    const char* help;
    const char* type;
    std::vector<double> bounds;  // of a histogram's buckets
    std::map<std::string, Series> series;
  };
  Family& family(std::string_view name);

  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;
};

}  // namespace nervus::serve
