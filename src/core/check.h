// Failing in words. `fail` throws an Error that a user can act on; `check` guards promises between
// rooms and names the place that broke one.
#pragma once

#include <source_location>
#include <string>
#include <string_view>

#include "nervus/error.h"

namespace nervus {

// Throws Error(kind, message).
[[noreturn]] void fail(ErrorKind kind, const std::string& message);

// Throws Error(internal) with file and line if a promise between rooms is broken.
void check(bool promise, std::string_view what, std::source_location where = std::source_location::current());

// "1 tensor", "3 tensors".
std::string plural(long long count, std::string_view noun);

}  // namespace nervus
