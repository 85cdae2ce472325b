// Preloaded into the program: policies of which one has a call that never ends, or ends late, and the other a device
// that fails while it does.
#include <atomic>
#include <chrono>
#include <thread>

#include "nervus/error.h"
#include "nervus/policy.h"

namespace {

std::atomic<bool> computing = false;

}  // namespace

namespace nervus {

// Seeds from 1 are the seconds that a call takes.
ActionChunk Policy::infer(const Observation&, const InferOptions& options) {
  if (options.seed > 0) {
    computing = true;
    std::this_thread::sleep_for(std::chrono::seconds(options.seed));
  }
  const auto values = static_cast<std::size_t>(info().chunk_steps * info().action_dimensions);
  return {.steps = info().chunk_steps, .dimensions = info().action_dimensions, .values = std::vector<float>(values)};
}

void Policy::check_device() {
  if (computing) throw Error(ErrorKind::device, "cpu: lost");
}

}  // namespace nervus
