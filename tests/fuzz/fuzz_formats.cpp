// Bytes that begin with '[' and go on behind it are a recipe, others a calibration: each is read, with ranges that are
// finite and positive, or is an Error.
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "nervus/error.h"
#include "quant/recipe.h"

namespace {

const nervus::CalibrationSubject subject{
    .digest = "00ff",
    .linears = {"blocks.0.qkv", "blocks.0.out", "head"},
    .sites = {{"vit.block.0.q", "blocks.0.qkv"}, {"vit.block.0.up_proj", "blocks.0.out"}, {"norm", ""}}};

void read_recipe(std::string_view text) {
  const nervus::Formats formats = nervus::formats_of(nervus::parse_recipe(text, "fuzz"), subject.linears, nullptr);
  if (formats.size() > subject.linears.size()) std::abort();
}

void read_calibration(std::string_view text) {
  for (const auto& [linear, range] : nervus::parse_calibration(text, "fuzz", subject).ranges) {
    if (!std::isnormal(range / nervus::Float8::largest) || range < 0) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  std::string_view text(reinterpret_cast<const char*>(data), bytes);
  try {
    if (text.starts_with('[')) read_recipe(text.substr(1));
    else read_calibration(text);
  } catch (const nervus::Error& error) {
    if (error.kind() != nervus::ErrorKind::checkpoint) std::abort();
  }
  return 0;
}
