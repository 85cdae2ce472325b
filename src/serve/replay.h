// The part of a replay that any replica serves for.
#pragma once

#include "serve/record_file.h"
#include "serve/record_settings.h"
#include "serve/replica.h"

namespace nervus::serve {

// Asks for every request that is left in the file. Throws Error(input) for a record that is none.
ReplayReport replay_through(RecordReader& reader, const RecordSettings& settings, Replica& replica);

}  // namespace nervus::serve
