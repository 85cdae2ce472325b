#include "nervus/options.h"

#include "core/message.h"
#include "nervus/policy.h"

namespace nervus {

Precision precision_from(const std::string& name) {
  if (name == "f32") return Precision::f32;
  if (name == "bf16") return Precision::bf16;
  fail(ErrorKind::usage, "precision: expected f32 or bf16, found '", name, "'");
}

const char* name_of(Precision precision) noexcept { return precision == Precision::f32 ? "f32" : "bf16"; }

const char* version() noexcept { return NERVUS_VERSION; }

}  // namespace nervus
