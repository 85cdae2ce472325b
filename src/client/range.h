// How numbers that a caller chose are refused.
#pragma once

#include <sstream>

#include "core/message.h"

namespace nervus::client {

// Throws Error(usage) that names it; what is not a number is refused too.
inline void check_range(const char* name, double value, double least, double most) {
  if (value >= least && value <= most) return;
  std::ostringstream message;
  message.precision(10);
  message << name << ": expected a number from " << least << " to " << most << ", found " << value;
  fail(ErrorKind::usage, message.str());
}

}  // namespace nervus::client
