#include "cli/help.h"

#include <algorithm>
#include <sstream>

namespace nervus::cli {
namespace {

constexpr std::size_t indent = 28;
constexpr std::size_t line_width = 100;

// "  name   text ...", the text wrapped beside the name.
std::string entry(const std::string& name, const std::string& text) {
  std::string out, line = "  " + name;
  const auto end_line = [&] {
    out += line + '\n';
    line.clear();
  };
  if (line.size() + 2 > indent) end_line();
  line.resize(indent - 1, ' ');
  std::istringstream words(text);
  for (std::string word; words >> word; line += ' ' + word) {
    if (line.size() < indent || line.size() + 1 + word.size() <= line_width) continue;
    end_line();
    line.resize(indent - 1, ' ');
  }
  return out + line + '\n';
}

std::string option_name(const CLI::Option& option) {
  std::string name = option.get_name(option.get_positional(), !option.get_positional());
  std::replace(name.begin(), name.end(), ',', ' ');
  const std::string type = option.get_type_name();
  if (option.get_positional() || option.get_items_expected_max() == 0 || type.empty()) return name;
  return name + " " + type;
}

std::string option_text(const CLI::Option& option) {
  const std::string fallback = option.get_default_str();
  return option.get_description() + (fallback.empty() ? "" : " (default: " + fallback + ")");
}

std::string help_of_verb(const CLI::App& verb) {
  std::string usage = "nervus " + verb.get_name();
  std::string arguments;
  for (const CLI::Option* option : verb.get_options())
    if (option->get_positional()) {
      usage += " " + option->get_name(true, false);
      arguments += entry(option->get_name(true, false), option_text(*option));
    }
  std::string out = verb.get_description() + ".\n\nUsage: " + usage + " [options]\n";
  if (!arguments.empty()) out += "\nArguments:\n" + arguments;
  out += "\nOptions:\n";
  const CLI::Option* last = verb.get_help_ptr();
  for (const CLI::Option* option : verb.get_options())
    if (!option->get_positional() && option != last) out += entry(option_name(*option), option_text(*option));
  out += entry(option_name(*last), option_text(*last));
  return out + "\n" + verb.get_footer();
}

}  // namespace

std::string help(const CLI::App& app) {
  if (app.get_parent() != nullptr) return help_of_verb(app);
  std::string out = "nervus: " + app.get_description() + "\n\nUsage: nervus VERB [options]\n\nVerbs:\n";
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    out += entry(verb->get_name(), verb->get_description());
  out += "\nOptions:\n" + entry("-h --help", "Show this help, or that of a verb: nervus run --help") +
         entry("--version", "Show version and commit");
  out += "\nExit codes:\n";
  for (const auto& [code, meaning] : std::initializer_list<std::pair<const char*, const char*>>{
           {"0", "done"},
           {"1", "verify or compare: beyond the tolerance"},
           {"2", "a verb, option or argument is wrong"},
           {"3", "an observation, tensor, image, state or prompt is wrong"},
           {"4", "a checkpoint, config, tokenizer or statistics file is wrong"},
           {"5", "this build or machine cannot do what was asked"},
           {"6", "a file cannot be read or written"},
           {"7", "the model produced a value that is not finite"},
           {"70", "an error inside nervus: please report it"},
           {"130", "interrupted; no half-written file is left"}})
    out += entry(code, meaning);
  return out +
         "\nResults go to standard output, notes and progress to standard error. NO_COLOR turns colours off.\n"
         "\nFirst steps:\n"
         "  nervus doctor\n"
         "  nervus synth --preset tiny --seed 1 --out tiny\n"
         "  nervus run --checkpoint tiny --robot aloha --image cam_high=high.png --state state.json \\\n"
         "      --prompt 'pick up the cube' --out actions.json --plot actions.svg\n";
}

}  // namespace nervus::cli
