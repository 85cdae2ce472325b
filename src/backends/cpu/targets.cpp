#include "backends/cpu/vector_kernels.h"

namespace nervus {

#if defined(__x86_64__)
namespace avx512 {
extern const VectorKernels table;
}
namespace avx2 {
extern const VectorKernels table;
}
#endif
namespace baseline {
extern const VectorKernels table;
}

std::vector<const VectorKernels*> vector_kernels() {
  std::vector<const VectorKernels*> tables;
#if defined(__x86_64__)
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) tables.push_back(&avx512::table);
  if (v3) tables.push_back(&avx2::table);
#endif
  tables.push_back(&baseline::table);
  return tables;
}

}  // namespace nervus
