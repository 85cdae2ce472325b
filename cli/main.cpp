// nervus: the command line. Finds the verb, parses its options, runs it, and turns every error into one line and one
// exit code.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <iostream>
#include <map>
#include <sstream>

#include "build_commit.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/policy.h"

namespace nervus::cli {
namespace {

struct Verb {
  std::string name;
  std::string summary;
  Command (*add)(CLI::App&, const Output&);
};

const std::array verbs = {
    Verb{"run", "Turn camera images, joint state and an instruction into a chunk of actions", add_run},
    Verb{"serve", "Serve a policy to robots over a websocket, in the dialects of openpi and LingBot", add_serve},
    Verb{"replay", "Ask what a server recorded again, and compare every reply to the last bit", add_replay},
    Verb{"verify", "Compare a checkpoint with a reference case, stage by stage", add_verify},
    Verb{"inspect", "Say what a checkpoint is, what is missing, and what one call costs", add_inspect},
    Verb{"bench", "Measure latency by stage and the linears' share of peak", add_bench},
    Verb{"calibrate", "Observe how large the inputs of each linear are, which fp8 needs to know", add_calibrate},
    Verb{"compare", "Compare two files of arrays or actions", add_compare},
    Verb{"doctor", "Say what this build and machine can do, and how to mend what is missing", add_doctor},
    Verb{"synth", "Write a checkpoint of random weights with the public names and shapes", add_synth},
    Verb{"completion", "Print a completion script for a shell", add_completion},
};

// Refuses options that the verb does not have, before others are found missing.
void check_options(const CLI::App& verb, const std::vector<std::string>& arguments) {
  std::vector<std::string> known;
  for (const CLI::Option* option : verb.get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (const std::string& argument : arguments) {
    if (argument == "--") return;
    const bool is_long = argument.starts_with("--");
    const bool is_short = !is_long && argument.size() > 1 && argument[0] == '-' && std::isalpha(argument[1]) != 0;
    if (!is_long && !is_short) continue;
    const std::string name = argument.substr(0, is_long ? argument.find('=') : 2);
    if (verb.get_option_no_throw(name) != nullptr) continue;
    throw Error(ErrorKind::usage, "unknown option '" + name + "' of 'nervus " + verb.get_name() + "'" +
                                      did_you_mean(name, known) + " (see 'nervus " + verb.get_name() + " --help')");
  }
}

// A CLI11 parse error in the words of this program.
std::string message_of(const CLI::ParseError& error, const CLI::App& verb) {
  std::string message = error.what();
  if (const auto* extra = dynamic_cast<const CLI::ExtrasError*>(&error); extra != nullptr && !verb.remaining().empty())
    message = "unexpected argument '" + verb.remaining().front() + "'";
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    if (const auto at = message.find(": At Most 1"); at != std::string::npos)
      message.replace(at, message.size(), ": given more than once");
    if (const auto at = message.find(": 1 required "); at != std::string::npos) {
      const std::string type = message.substr(at + 13, message.find(" missing") - at - 13);
      message.replace(at, message.size(), ": expected a value " + type);
    }
  }
  return message + " (see 'nervus " + verb.get_name() + " --help')";
}

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
  const CLI::Option* last = verb.get_help_ptr();
  std::string names, arguments, options;
  for (const CLI::Option* option : verb.get_options()) {
    if (option->get_positional()) names += " " + option_name(*option);
    if (option != last)
      (option->get_positional() ? arguments : options) += entry(option_name(*option), option_text(*option));
  }
  return verb.get_description() + ".\n\nUsage: nervus " + verb.get_name() + names + " [options]\n" +
         (arguments.empty() ? "" : "\nArguments:\n" + arguments) + "\nOptions:\n" + options +
         entry(option_name(*last), option_text(*last)) + "\n" + verb.get_footer();
}

// Of the program: verbs and exit codes. Of a verb: usage, options with types and defaults, and its footer (example).
std::string help(const CLI::App& app) {
  if (app.get_parent() != nullptr) return help_of_verb(app);
  std::string out = "nervus: " + app.get_description() + "\n\nUsage: nervus VERB [options]\n\nVerbs:\n";
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    out += entry(verb->get_name(), verb->get_description());
  return out + R"(
Options:
  -h --help                 Show this help, or that of a verb: nervus run --help
  --version                 Show version and commit

Exit codes:
  0                         done
  1                         verify, compare or replay: beyond the tolerance
  2                         a verb, option or argument is wrong
  3                         an observation, tensor, image, state or prompt is wrong
  4                         a checkpoint, config, tokenizer or statistics file is wrong
  5                         this build or machine cannot do what was asked
  6                         a file cannot be read or written
  7                         the model produced a value that is not finite
  8                         a GPU has no memory left, or failed
  70                        an error inside nervus: please report it
  130                       interrupted; no half-written file is left

Results go to standard output, notes and progress to standard error. NO_COLOR turns colours off.

First steps:
  nervus doctor
  nervus synth --preset tiny --seed 1 --out tiny
  nervus run --checkpoint tiny --robot aloha --image cam_high=high.png --state state.json \
      --prompt 'pick up the cube' --out actions.json --plot actions.svg
)";
}

int dispatch(std::vector<std::string> arguments, Output& output) {
  CLI::App app("Turns camera images, joint state and an instruction into a chunk of robot actions.", "nervus");
  app.set_help_flag("-h,--help", "Show this help");
  std::map<std::string, Command> commands;
  for (const auto& [name, summary, add] : verbs) {
    CLI::App& verb = *app.add_subcommand(name, summary);
    verb.set_help_flag("-h,--help", "Show this help");
    commands[name] = add(verb, output);
    verb.add_flag("--json", output.json, "One JSON document on standard output, for machines");
    verb.add_flag("--quiet", output.quiet, "No notes and no progress on standard error");
  }
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    (arguments.empty() ? std::cerr : std::cout) << help(app);
    return arguments.empty() ? exit_code(ErrorKind::usage) : 0;
  }
  if (arguments[0] == "--version") {
    std::cout << "nervus " << version() << " (" << build_commit << ")\n";
    return 0;
  }
  if (!commands.contains(arguments[0])) {
    const bool is_option = arguments[0].starts_with("-");
    std::vector<std::string> known;
    for (const Verb& verb : verbs) known.push_back(verb.name);
    if (is_option) known = {"--help", "--version"};
    throw Error(ErrorKind::usage, std::string("unknown ") + (is_option ? "option '" : "verb '") + arguments[0] + "'" +
                                      did_you_mean(arguments[0], known) + " (see 'nervus --help')");
  }
  CLI::App& verb = *app.get_subcommand(arguments[0]);
  check_options(verb, {arguments.begin() + 1, arguments.end()});
  try {
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    std::cout << help(verb);
    return 0;
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorKind::usage, message_of(error, verb));
  }
  return commands.at(verb.get_name())();
}

int run(std::vector<std::string> arguments) {
  Output output;
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  const bool json = std::find(arguments.begin(), end, "--json") != end;
  try {
    const int code = dispatch(std::move(arguments), output);
    std::cout.flush();
    if (!std::cout) throw Error(ErrorKind::io, "standard output: cannot be written");
    return code;
  } catch (const std::exception&) {
    return Output{.json = json}.report(current_error());
  }
}

}  // namespace
}  // namespace nervus::cli

int main(int count, char** arguments) {
  nervus::cli::watch_interrupts();
  return nervus::cli::run({arguments + std::min(count, 1), arguments + count});
}
