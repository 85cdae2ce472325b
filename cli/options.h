// Options that several verbs share, and how their values are checked. An option's type name says what completion
// offers: "DIR", "FILE" and "PATH" stand for files, "a|b" for the words a and b.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "nervus/options.h"

namespace nervus::cli {

// Where a policy comes from and how it is loaded.
struct PolicyOptions {
  std::string checkpoint;
  std::string device = "cpu";
  std::string precision = name_of(LoadOptions{}.precision);
  std::string time_grid = "exact";
  int threads = 0;
  std::vector<int> steps;

  // As LoadOptions, with `progress` for the load. Throws Error(usage) if a step count occurs twice.
  LoadOptions load_options(ProgressFunction progress) const;
};

void add_checkpoint(CLI::App& verb, std::string& checkpoint);
void add_device(CLI::App& verb, PolicyOptions& options);  // --device --precision --threads
void add_steps(CLI::App& verb, PolicyOptions& options);   // --steps --time-grid

// Checks of an option's text, with messages such as "expected an integer from 1 to 1000, found 'ten'".
CLI::Validator integer_between(std::int64_t least, std::int64_t most);
CLI::Validator natural();  // an unsigned 64-bit integer
CLI::Validator number_from(double least);
// Sets the option's type name to "a|b" and accepts these words alone.
void accept_only(CLI::Option& option, const std::vector<std::string>& words);

// The one array of a file; of several, the one of that name. Throws Error(input) if there is none.
struct Array read_one_array(const std::filesystem::path& path, const std::string& name);

}  // namespace nervus::cli
