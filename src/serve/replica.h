// A policy on one device, and how one request is answered with it.
#pragma once

#include <functional>
#include <memory>

#include "nervus/policy.h"
#include "serve/guard.h"
#include "serve/metrics.h"
#include "serve/scheduler.h"

namespace nervus::serve {

// What a request is computed with; used by one thread at a time.
class Replica {
 public:
  virtual ~Replica() = default;
  virtual const PolicyInfo& info() const = 0;
  virtual ActionChunk infer(const Observation& observation, const InferOptions& options) = 0;
};

std::unique_ptr<Replica> make_replica(Policy policy);

// One call with images of zeros, so that what is left for the first call is done. Throws what it throws, and
// Error(numeric) for an answer that is not finite.
void warm(Replica& replica);

// What became of a job.
struct Answer {
  std::string reply;  // a message, unless it was refused
  std::optional<Refusal> refusal;
  std::optional<std::string> device_error;  // the replica cannot go on
  std::string log;                          // of an error, what the client is not told
  ActionChunk chunk;                        // of a reply
  std::map<std::string, double> timing;     // stage -> milliseconds
};

// Guards the observation, computes, guards the actions, and writes the reply. A job past its deadline is not run.
// Counts in `metrics` what the guard did and how long the stages took. Never throws.
Answer answer(Replica& replica, const Guard& guard, const Job& job, Metrics& metrics) noexcept;

}  // namespace nervus::serve
