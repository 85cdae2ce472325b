// Options that several verbs share, and how their values are checked. An option's type name says what completion
// offers: "DIR", "FILE" and "PATH" stand for files, "a|b" for the words a and b.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "nervus/options.h"

namespace nervus::cli {

// Where a policy comes from and how it is loaded.
struct PolicyOptions {
  std::string checkpoint;
  std::string device = "cpu";
  std::string precision = name_of(LoadOptions{}.precision);
  std::string recipe, calibration, plan;
  std::string attention = name_of(Attention::automatic);
  std::string time_grid = "exact";
  int threads = 0;
  std::vector<int> steps;

  // As LoadOptions, with `progress` for the load. Throws Error(usage) if a step count occurs twice.
  LoadOptions load_options(ProgressFunction progress) const;
};

void add_checkpoint(CLI::App& verb, std::string& checkpoint);
// --device --precision --recipe --calibration --attention --plan --threads
void add_device(CLI::App& verb, PolicyOptions& options);
// The same with several values of --precision and --attention.
void add_device(CLI::App& verb, PolicyOptions& options, std::vector<std::string>& precisions,
                std::vector<std::string>& attentions);
void add_steps(CLI::App& verb, PolicyOptions& options);  // --steps --time-grid
void add_plan(CLI::App& verb, std::string& plan);
void add_threads(CLI::App& verb, int& threads);
void add_seed(CLI::App& verb, std::uint64_t& seed, const std::string& text);

// Refuses values outside least .. most: "expected an integer from 1 to 1000, found 'ten'".
CLI::Validator integer_between(std::uint64_t least, std::uint64_t most);
// Sets the option's type name to `type`; of a type "a|b" it accepts these words alone.
void set_type(CLI::Option& option, const std::string& type);

// An option, or an argument, whose default is shown by --help.
template <typename T>
CLI::Option& add_option(CLI::App& verb, const std::string& name, T& value, const std::string& type,
                        const std::string& text) {
  CLI::Option& option = *verb.add_option(name, value, text);
  if constexpr (!std::is_same_v<T, std::vector<std::string>> && !std::is_same_v<T, std::vector<int>>)
    option.capture_default_str();
  set_type(option, type);
  return option;
}

// The one array of a file; of several, the one of that name. Throws Error(input) if there is none.
struct Array read_one_array(const std::filesystem::path& path, const std::string& name);

}  // namespace nervus::cli
