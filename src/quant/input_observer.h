// InputObserver: how large the inputs of each linear are, over any number of calls, and of one that reads a norm what
// stands before it: h times the norm's scale, which is what it reads where it is fused.
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
  using Limits = std::map<std::string, float>;
  using Statistics = std::map<std::string, InputStatistics, std::less<>>;

  // Counts what is beyond `limits`, a range for each linear, or none; `stream_limits` of what stands before a norm.
  InputObserver(Device& device, Limits limits, Limits stream_limits = {})
      : device_(device), limits_(std::move(limits)), stream_limits_(std::move(stream_limits)) {}

  // Throws Error(numeric) if an input is not finite, Error(internal) for a fused op, which sees no normed input.
  void before(const OpEvent& event) override;
  void after(const OpEvent&) override {}

  const Statistics& linears() const { return linears_; }
  const Statistics& streams() const { return streams_; }

 private:
  std::vector<float> read(const Tensor& x);
  // `what` they are, in an error.
  static void count(const std::vector<float>& values, InputStatistics& statistics, const char* what,
                    std::string_view linear);

  Device& device_;
  Limits limits_, stream_limits_;
  Statistics linears_, streams_;
  OpEvent norm_;  // what linears alone have followed; its scale is empty where there is none
};

}  // namespace nervus
