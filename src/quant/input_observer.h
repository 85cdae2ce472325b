// InputObserver: how large the inputs of each linear are, over any number of calls.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "backends/device.h"
#include "backends/observed_kernels.h"

namespace nervus {

struct InputStatistics {
  std::int64_t count = 0;   // values seen
  std::int64_t beyond = 0;  // of them with |x| > limit
  float largest = 0;        // |x|
  float limit = 0;          // 0: none
  std::vector<std::int64_t> histogram;

  // The |x| that `percentile` of 100 values do not exceed: never below it, and at most 2^-7 of it above; exact at 100.
  float percentile(double percentile) const;
  // Values with |x| above `bound`, a result of percentile().
  std::int64_t above(float bound) const;
};

class InputObserver final : public KernelObserver {
 public:
  // Counts what is beyond `limits`, a range for each linear, or none.
  InputObserver(Device& device, std::map<std::string, float> limits) : device_(device), limits_(std::move(limits)) {}

  // Throws Error(numeric) if an input is not finite, Error(internal) for a fused op, which sees no normed input.
  void before(const OpEvent& event) override;
  void after(const OpEvent&) override {}

  const std::map<std::string, InputStatistics, std::less<>>& linears() const { return linears_; }

 private:
  Device& device_;
  std::map<std::string, float> limits_;
  std::map<std::string, InputStatistics, std::less<>> linears_;
  std::vector<std::byte> bytes_;
  std::vector<float> values_;
};

}  // namespace nervus
