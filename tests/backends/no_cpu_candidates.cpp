#include "lab.h"

namespace nervus {

std::vector<Candidate> cpu_candidates(Precision) { return {}; }

}  // namespace nervus
