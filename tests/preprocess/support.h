// What the tests of preprocess share.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/json.h"
#include "preprocess/normalize.h"

namespace nervus {

inline NormStats parse_norm_stats(std::string_view text, const std::string& source) {
  return read_norm_stats(Fields::parse(text, source));
}

}  // namespace nervus
