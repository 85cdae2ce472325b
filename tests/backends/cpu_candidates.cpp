#include "backends/cpu/device.h"
#include "backends/cpu/linears.h"
#include "lab.h"

namespace nervus {

std::vector<Candidate> cpu_candidates(Precision precision) {
  std::vector<Candidate> made;
  const auto add = [&](const VectorKernels& table, bool library) {
    made.push_back({std::string(table.name) + (library ? ", oneDNN" : ""), [&table, library, precision](int threads) {
                      return make_cpu_device(precision, threads, {table, library});
                    }});
  };
  const bool bf16 = precision == Precision::bf16;
  const bool library = Linears::supports(bf16 ? DType::bf16 : DType::f32);
  for (const VectorKernels* table : vector_kernels()) {
    if (library && (bf16 || made.empty())) add(*table, true);
    add(*table, false);
  }
  return made;
}

}  // namespace nervus
