// Linked where NERVUS_ENGINE_ONLY leaves out the CPU's computing.
#include "backends/device.h"

#include "core/check.h"

namespace nervus {

std::unique_ptr<Device> make_cpu_device(Precision, int) {
  fail(ErrorKind::unsupported,
       "device 'cpu': this build computes on CUDA devices only (NERVUS_ENGINE_ONLY): use --device cuda:0, or rebuild "
       "without the option");
}

}  // namespace nervus
