// Linked where the build has no CUDA.
#include "backends/device.h"

#include "core/message.h"
#include "nervus/tools.h"

namespace nervus {
namespace {

constexpr const char* refusal =
    "this build has no CUDA: rebuild with -DNERVUS_CUDA=ON (it needs the CUDA toolkit), or use --device cpu";

}  // namespace

std::unique_ptr<Device> make_cuda_device(Precision, int ordinal, bool, Attention) {
  fail(ErrorKind::unsupported, "device 'cuda:", ordinal, "': ", refusal);
}

std::string describe_cuda() { fail(ErrorKind::unsupported, refusal); }

DeviceState cuda_state(int ordinal) { fail(ErrorKind::unsupported, "device 'cuda:", ordinal, "': ", refusal); }

}  // namespace nervus
