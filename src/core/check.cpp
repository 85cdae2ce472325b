#include "core/check.h"

#include <filesystem>

#include "core/message.h"

namespace nervus {

int exit_code(ErrorKind kind) noexcept {
  return kind == ErrorKind::internal ? 70 : 2 + static_cast<int>(kind);  // as nervus/error.h lists them
}

const char* name_of(ErrorKind kind) noexcept {
  constexpr const char* names[] = {"usage", "input",   "checkpoint", "unsupported",
                                   "io",    "numeric", "device",     "internal"};
  return names[static_cast<int>(kind)];
}

void fail(ErrorKind kind, const std::string& message) { throw Error(kind, message); }

void check(bool promise, std::string_view what, std::source_location where) {
  if (promise) return;
  fail(ErrorKind::internal, "internal error at ", std::filesystem::path(where.file_name()).filename().string(), ":",
       where.line(), ": ", what, " (please report this with the command that caused it)");
}

std::string plural(long long count, std::string_view noun) { return concat(count, " ", noun, count == 1 ? "" : "s"); }

}  // namespace nervus
