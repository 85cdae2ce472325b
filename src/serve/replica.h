// A policy on one device, and how one request is answered with it.
#pragma once

#include <functional>
#include <memory>
#include <span>

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
  // Several in one call, to each what infer would give it; one after another where a replica cannot do better. Never
  // more than info().limits.batch.
  virtual std::vector<ActionChunk> infer_batch(std::span<const Observation> observations,
                                               std::span<const InferOptions> options);
  // Asked now and then while nothing runs. Throws Error(device) once the device cannot go on.
  virtual void check_device() {}
};

std::unique_ptr<Replica> make_replica(Policy policy);

// Calls with images of zeros, one alone and one of a full batch, so that what is left for the first calls is done.
// Throws what they throw, and Error(numeric) for an answer that is not finite.
void warm(Replica& replica);

// What requests are told once a device failed.
Refusal device_failed();

// What became of a job.
struct Answer {
  std::string reply;  // a message, unless it was refused
  std::optional<Refusal> refusal;
  std::optional<std::string> device_error;  // the replica cannot go on
  std::string log;                          // of an error, what the client is not told
  ActionChunk chunk;                        // of a reply
  std::map<std::string, double> timing;     // stage -> milliseconds, from decode to encode
};

// Guards the observations, computes them in one call, guards the actions, and writes the replies, one a job. A job past
// its deadline is not run, nor one whose observation is too old by then; where a call of several fails, each is run
// alone, so that only those that are wrong are refused. Counts in `metrics` what the guard did and how long the stages
// took. Never throws.
std::vector<Answer> answer(Replica& replica, const Guard& guard, std::span<const Job> jobs, Metrics& metrics) noexcept;

}  // namespace nervus::serve
