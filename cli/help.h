// The text of --help.
#pragma once

#include <CLI/App.hpp>
#include <string>

namespace nervus::cli {

// Of the program: verbs and exit codes. Of a verb: usage, options with types and defaults, and its footer (example).
std::string help(const CLI::App& app);

}  // namespace nervus::cli
