#include "nervus/options.h"

#include "core/message.h"
#include "nervus/policy.h"

namespace nervus {

Precision precision_from(const std::string& name) {
  if (name == "f32") return Precision::f32;
  if (name == "bf16") return Precision::bf16;
  if (name == "fp8") return Precision::fp8;
  fail(ErrorKind::usage, "precision: expected f32, bf16 or fp8, found '", name, "'");
}

const char* name_of(Precision precision) noexcept {
  return precision == Precision::f32 ? "f32" : precision == Precision::bf16 ? "bf16" : "fp8";
}

Attention attention_from(const std::string& name) {
  for (const Attention attention : {Attention::automatic, Attention::fast, Attention::plain}) {
    if (name == name_of(attention)) return attention;
  }
  fail(ErrorKind::usage, "attention: expected auto, fast or plain, found '", name, "'");
}

const char* name_of(Attention attention) noexcept {
  return attention == Attention::fast ? "fast" : attention == Attention::plain ? "plain" : "auto";
}

const char* version() noexcept { return NERVUS_VERSION; }

}  // namespace nervus
