// nervus: the command line. Finds the verb, parses its options, runs it, and turns every error into one line and one
// exit code.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <iostream>
#include <new>

#include "build_commit.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/policy.h"

namespace nervus::cli {
namespace {

struct Verb {
  const char* name;
  const char* summary;
  Command (*add)(CLI::App&, const Output&);
};

constexpr std::array verbs = {
    Verb{"run", "Turn camera images, joint state and an instruction into a chunk of actions", add_run},
    Verb{"verify", "Compare a checkpoint with a reference case, stage by stage", add_verify},
    Verb{"inspect", "Say what a checkpoint is, what is missing, and what one call costs", add_inspect},
    Verb{"bench", "Measure latency by stage and the linears' share of peak", add_bench},
    Verb{"compare", "Compare two files of arrays or actions", add_compare},
    Verb{"doctor", "Say what this build and machine can do, and how to mend what is missing", add_doctor},
    Verb{"synth", "Write a checkpoint of random weights with the public names and shapes", add_synth},
    Verb{"completion", "Print a completion script for a shell", add_completion},
};

// In the order of ErrorKind.
constexpr std::array kind_names = {"usage", "input", "checkpoint", "unsupported", "io", "numeric", "internal"};

int report(ErrorKind kind, const std::string& message, bool json) {
  const Output output{.json = json};
  output.document({{"error",
                    {{"kind", kind_names.at(static_cast<std::size_t>(kind))},
                     {"message", message},
                     {"exit_code", exit_code(kind)}}}});
  std::cout.flush();
  std::cerr << "nervus: error: " << one_line(message) << '\n';
  return exit_code(kind);
}

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

int dispatch(std::vector<std::string> arguments, Output& output) {
  CLI::App app("Turns camera images, joint state and an instruction into a chunk of robot actions.", "nervus");
  app.set_help_flag("-h,--help", "Show this help");
  std::array<Command, verbs.size()> commands;
  for (std::size_t i = 0; i < verbs.size(); ++i) {
    CLI::App& verb = *app.add_subcommand(verbs[i].name, verbs[i].summary);
    verb.set_help_flag("-h,--help", "Show this help");
    commands[i] = verbs[i].add(verb, output);
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
  const auto found =
      std::find_if(verbs.begin(), verbs.end(), [&](const Verb& verb) { return verb.name == arguments[0]; });
  if (found == verbs.end()) {
    const bool is_option = arguments[0].starts_with("-");
    std::vector<std::string> known = {"--help", "--version"};
    if (!is_option) known.assign(verbs.size(), "");
    if (!is_option)
      std::transform(verbs.begin(), verbs.end(), known.begin(), [](const Verb& verb) { return verb.name; });
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
  return commands[static_cast<std::size_t>(found - verbs.begin())]();
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
  } catch (const Error& error) {
    return report(error.kind(), error.what(), json);
  } catch (const std::bad_alloc&) {
    return report(ErrorKind::unsupported, "not enough memory ('nervus doctor' says how much there is)", json);
  } catch (const std::exception& error) {
    return report(ErrorKind::internal, std::string("unexpected: ") + error.what(), json);
  }
}

}  // namespace
}  // namespace nervus::cli

int main(int count, char** arguments) {
  nervus::cli::watch_interrupts();
  return nervus::cli::run({arguments + std::min(count, 1), arguments + count});
}
