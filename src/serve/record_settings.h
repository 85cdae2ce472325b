// The first frame of a recording: how its requests were read and its answers made, as JSON.
#pragma once

#include <string>

#include "nervus/record.h"
#include "nervus/server.h"
#include "serve/dialect.h"

namespace nervus::serve {

struct RecordSettings {
  RecordInfo info;
  RequestRules rules;      // less what the policy itself says: cameras, steps
  std::string robot_file;  // the guard's, as it was read; empty: there was none
};

// Reads the robot file that the options name. Throws Error(io).
std::string write_settings(const ServeOptions& options, const PolicyInfo& info);
// Throws Error(input) naming file and field.
RecordSettings read_settings(const std::string& text, const std::string& file);

}  // namespace nervus::serve
