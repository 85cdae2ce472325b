#include "cli/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli/output.h"
#include "nervus/array_file.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

// The whole text as a T, or nothing.
template <typename T>
bool parse(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

CLI::Validator silent(std::function<std::string(std::string&)> check) { return CLI::Validator(std::move(check), ""); }

}  // namespace

LoadOptions PolicyOptions::load_options(ProgressFunction progress) const {
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (std::count(steps.begin(), steps.end(), steps[i]) > 1)
      throw Error(ErrorKind::usage, "--steps: " + std::to_string(steps[i]) + " is given twice");
  LoadOptions load;
  load.device = device;
  load.precision = precision_from(precision);
  load.threads = threads;
  load.steps = steps;
  load.time_grid = time_grid == "exact" ? TimeGrid::exact : TimeGrid::bf16_accumulated;
  load.progress = std::move(progress);
  return load;
}

void add_checkpoint(CLI::App& verb, std::string& checkpoint) {
  verb.add_option("--checkpoint", checkpoint,
                  "Checkpoint: config.json with model.safetensors, or with model.safetensors.index.json and its shards")
      ->type_name("DIR")
      ->required();
}

void add_device(CLI::App& verb, PolicyOptions& options) {
  verb.add_option("--device", options.device, "Where to compute")->type_name("NAME")->capture_default_str();
  accept_only(*verb.add_option("--precision", options.precision,
                               "How weights and activations are held: f32 is exact to float32 rounding, bf16 takes "
                               "half the memory and time")
                   ->capture_default_str(),
              {"f32", "bf16"});
  verb.add_option("--threads", options.threads, "CPU threads; 0: every core that the process may use")
      ->type_name("N")
      ->check(integer_between(0, 1024))
      ->capture_default_str();
}

void add_steps(CLI::App& verb, PolicyOptions& options) {
  verb.add_option("--steps", options.steps,
                  "Euler steps of the flow, 1 to 1000; several counts give several results (default: the "
                  "checkpoint's num_steps)")
      ->type_name("N...")
      ->check(integer_between(1, 1000));
  accept_only(*verb.add_option("--time-grid", options.time_grid,
                               "Times of the steps: t = 1 - i/N exactly, or accumulated in bfloat16 as the public "
                               "implementation does on a GPU")
                   ->capture_default_str(),
              {"exact", "bf16-accumulated"});
}

CLI::Validator integer_between(std::int64_t least, std::int64_t most) {
  return silent([least, most](std::string& text) {
    std::int64_t value = 0;
    if (parse(text, value) && value >= least && value <= most) return std::string();
    return "expected an integer from " + std::to_string(least) + " to " + std::to_string(most) + ", found '" + text +
           "'";
  });
}

CLI::Validator natural() {
  return silent([](std::string& text) {
    std::uint64_t value = 0;
    if (parse(text, value)) return std::string();
    return "expected an integer from 0 to 18446744073709551615, found '" + text + "'";
  });
}

CLI::Validator number_from(double least) {
  return silent([least](std::string& text) {
    double value = 0;
    if (parse(text, value) && std::isfinite(value) && value >= least) return std::string();
    return "expected a number not below " + number(least) + ", found '" + text + "'";
  });
}

void accept_only(CLI::Option& option, const std::vector<std::string>& words) {
  std::string name;
  for (const std::string& word : words) name += (name.empty() ? "" : "|") + word;
  option.type_name(name)->check(silent([words](std::string& text) {
    if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
    const std::string near = nearest(text, words);
    return "expected " + listed(words, "or") + ", found '" + text + "'" +
           (near.empty() ? "" : ": did you mean '" + near + "'?");
  }));
}

Array read_one_array(const std::filesystem::path& path, const std::string& name) {
  auto arrays = read_arrays(path);
  if (arrays.size() == 1) return std::move(arrays.begin()->second);
  const auto found = arrays.find(name);
  if (found != arrays.end()) return std::move(found->second);
  throw Error(ErrorKind::input, path.string() + ": expected one array or one named '" + name + "', found " +
                                    std::to_string(arrays.size()) + " others");
}

}  // namespace nervus::cli
