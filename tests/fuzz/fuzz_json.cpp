// Whatever the bytes: a document whose fields can be asked for, or an Error; and what was read is written and read the
// same.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "checkpoint/json.h"
#include "nervus/error.h"

namespace {

template <typename Get>
void ask(Get&& get) {
  try {
    get();
  } catch (const nervus::Error& error) {
    if (error.kind() != nervus::ErrorKind::checkpoint) std::abort();
  }
}

void ask_for_all(const nervus::Fields& fields) {
  for (const auto& name : fields.names()) {
    ask([&] { fields.integer(name, 0, 100); });
    ask([&] { fields.number(name); });
    ask([&] { fields.boolean(name); });
    ask([&] { fields.text(name); });
    ask([&] { fields.integers(name, -5); });
    ask([&] { fields.numbers(name); });
    ask([&] { ask_for_all(fields.object(name)); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  ask([&] {
    const std::string_view text(reinterpret_cast<const char*>(data), bytes);
    const nervus::Json json = nervus::parse_json(text, "fuzz", {.bytes = 1 << 20, .values = 10'000});
    if (nervus::parse_json(json.dump(), "fuzz") != json) std::abort();
    ask_for_all(nervus::Fields(json, "fuzz"));
  });
  return 0;
}
