// What the driver's management library (NVML) and CUDA say of a device. NVML is found when it is asked for: a machine
// may lack it, and the toolkit need not have its headers.
#pragma once

#include "nervus/tools.h"

namespace nervus::cuda {

// `ordinal` is a device that is there.
DeviceState read_state(int ordinal);

}  // namespace nervus::cuda
