#include "core/check.h"

namespace nervus {

int exit_code(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::usage: return 2;
    case ErrorKind::input: return 3;
    case ErrorKind::checkpoint: return 4;
    case ErrorKind::unsupported: return 5;
    case ErrorKind::io: return 6;
    case ErrorKind::numeric: return 7;
    case ErrorKind::device: return 8;
    case ErrorKind::internal: break;
  }
  return 70;
}

void fail(ErrorKind kind, const std::string& message) { throw Error(kind, message); }

void check(bool promise, std::string_view what, std::source_location where) {
  if (promise) return;
  const std::string_view path = where.file_name();
  const auto name = path.substr(path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/') + 1);
  fail(ErrorKind::internal, "internal error at " + std::string(name) + ":" + std::to_string(where.line()) + ": " +
                                std::string(what) + " (please report this with the command that caused it)");
}

std::string plural(long long count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

}  // namespace nervus
