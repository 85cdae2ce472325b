// The CPU device with its choices made by hand, for tests.
#pragma once

#include "backends/cpu/vector_kernels.h"
#include "backends/device.h"

namespace nervus {

struct CpuChoice {
  const VectorKernels& table;
  bool library;  // linears by oneDNN, or by the table
};

std::unique_ptr<Device> make_cpu_device(Precision precision, int threads, const CpuChoice& choice);

}  // namespace nervus
