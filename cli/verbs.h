// The verbs, one file each: `add_*` describes a verb's options and returns what to do once they are parsed.
#pragma once

#include <CLI/App.hpp>
#include <functional>

#include "cli/output.h"

namespace nervus::cli {

// Does the work and returns the exit code: 0, or 1 for a comparison beyond its tolerance. Throws Error.
using Command = std::function<int()>;

Command add_run(CLI::App& verb, const Output& output);
Command add_verify(CLI::App& verb, const Output& output);
Command add_inspect(CLI::App& verb, const Output& output);
Command add_bench(CLI::App& verb, const Output& output);
Command add_calibrate(CLI::App& verb, const Output& output);
Command add_compare(CLI::App& verb, const Output& output);
Command add_doctor(CLI::App& verb, const Output& output);
Command add_serve(CLI::App& verb, const Output& output);
Command add_replay(CLI::App& verb, const Output& output);
Command add_synth(CLI::App& verb, const Output& output);
Command add_completion(CLI::App& verb, const Output& output);

}  // namespace nervus::cli
