// nervus completion: scripts for shells, made from the description of the command line itself.
#include <algorithm>

#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

// What may follow an option, or stand as an argument.
enum class Kind { nothing, anything, directory, file, camera, words };

struct Entry {
  std::string name;  // "--steps"; of an argument its place-holder
  std::string text;
  Kind kind = Kind::nothing;
  std::string words = {};  // of Kind::words, with spaces between
  bool positional = false;
};

struct Verb {
  std::string name, text;
  std::vector<Entry> entries;
};

constexpr const char* cameras = "cam_high= cam_left_wrist= cam_right_wrist=";

Entry entry_of(const CLI::Option& option) {
  Entry entry{option.get_name(option.get_positional(), !option.get_positional()), option.get_description()};
  entry.positional = option.get_positional();
  entry.name = entry.name.substr(entry.name.rfind(',') + 1);  // "-h,--help"
  std::string type = option.get_type_name();
  if (option.get_items_expected_max() == 0) return entry;
  if (type == "DIR") entry.kind = Kind::directory;
  else if (type == "FILE" || type == "PATH") entry.kind = Kind::file;
  else if (type == "CAMERA=FILE") entry.kind = Kind::camera;
  else if (type.find('|') != std::string::npos) entry.kind = Kind::words;
  else entry.kind = Kind::anything;
  std::replace(type.begin(), type.end(), '|', ' ');
  if (entry.kind == Kind::words) entry.words = type;
  return entry;
}

std::vector<Verb> verbs_of(const CLI::App& app) {
  std::vector<Verb> verbs;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    verbs.push_back({verb->get_name(), verb->get_description(), {}});
    for (const CLI::Option* option : verb->get_options()) verbs.back().entries.push_back(entry_of(*option));
  }
  return verbs;
}

std::string bash_reply(const Entry& entry) {
  const std::string end = " -- \"$current\")";
  switch (entry.kind) {
    case Kind::directory: return "mapfile -t COMPREPLY < <(compgen -d" + end + "; compopt -o filenames 2>/dev/null";
    case Kind::file: return "mapfile -t COMPREPLY < <(compgen -f" + end + "; compopt -o filenames 2>/dev/null";
    case Kind::words: return "mapfile -t COMPREPLY < <(compgen -W '" + entry.words + "'" + end;
    case Kind::camera:
      return std::string("mapfile -t COMPREPLY < <(compgen -W '") + cameras + "'" + end +
             "; compopt -o nospace 2>/dev/null";
    case Kind::nothing:
    case Kind::anything: break;
  }
  return "COMPREPLY=()";
}

std::string bash_script(const std::vector<Verb>& verbs) {
  std::string names, cases;
  for (const Verb& verb : verbs) {
    names += verb.name + " ";
    std::string options, argument;
    for (const Entry& entry : verb.entries) {
      if (entry.positional) argument = bash_reply(entry);
      else options += entry.name + " ";
      if (!entry.positional && entry.kind != Kind::nothing)
        cases += "    '" + verb.name + " " + entry.name + "') " + bash_reply(entry) + "; return ;;\n";
    }
    cases += "    '" + verb.name + " '*) mapfile -t COMPREPLY < <(compgen -W '" + options + "' -- \"$current\")" +
             (argument.empty() ? "" : "\n      [[ $current == -* ]] || { " + argument + "; }") + " ;;\n";
  }
  // The shell splits words at '=': the file of "cam_high=file" is a word of its own behind a '='.
  return "# bash completion for nervus: source it, or save it in a directory of bash-completion.\n"
         "_nervus() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
         "  [[ $current == '=' ]] && { previous='='; current=; }\n"
         "  COMPREPLY=()\n"
         "  if (( COMP_CWORD == 1 )); then\n"
         "    mapfile -t COMPREPLY < <(compgen -W '" +
         names +
         "--help --version' -- \"$current\")\n"
         "    return\n"
         "  fi\n"
         "  if [[ $previous == '=' ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); compopt -o filenames 2>/dev/null\n"
         "    return\n"
         "  fi\n"
         "  case \"$verb $previous\" in\n" +
         cases + "  esac\n}\ncomplete -F _nervus nervus\n";
}

// Without the letters that end a quoted description in zsh or fish.
std::string plain(std::string text) {
  for (char& c : text)
    if (std::string_view("'[]:\\$`").find(c) != std::string_view::npos) c = ' ';
  return text;
}

std::string zsh_script(const std::vector<Verb>& verbs) {
  std::string names, cases;
  for (const Verb& verb : verbs) {
    names += "    '" + verb.name + ":" + plain(verb.text) + "'\n";
    cases += "    " + verb.name + ") _arguments";
    for (const Entry& entry : verb.entries) {
      static constexpr std::array actions = {"", ":value: ", ":directory:_files -/", ":file:_files", "", ""};
      std::string action = actions[static_cast<std::size_t>(entry.kind)];
      if (entry.kind == Kind::words) action = ":value:(" + entry.words + ")";
      if (entry.kind == Kind::camera)
        action = std::string(":camera:{ if compset -P \"*=\"; then _files; else compadd -S \"\" ") + cameras + "; fi }";
      cases += " \\\n      '" +
               (entry.positional ? "*" + action : "*" + entry.name + "[" + plain(entry.text) + "]" + action) + "'";
    }
    cases += " ;;\n";
  }
  return "#compdef nervus\n"
         "# zsh completion for nervus: save it as _nervus in a directory of $fpath, or source it after compinit.\n"
         "_nervus() {\n  local -a verbs\n  verbs=(\n" +
         names +
         "  )\n"
         "  if (( CURRENT == 2 )); then _describe verb verbs; return; fi\n"
         "  local verb=$words[2]\n  shift words; (( CURRENT-- ))\n  case $verb in\n" +
         cases + "  esac\n}\nif [[ $funcstack[1] == _nervus ]]; then _nervus \"$@\"; else compdef _nervus nervus; fi\n";
}

std::string fish_script(const std::vector<Verb>& verbs) {
  std::string out =
      "# fish completion for nervus: save it as nervus.fish in ~/.config/fish/completions.\ncomplete -c nervus -f\n";
  for (const Verb& verb : verbs) {
    out += "complete -c nervus -n __fish_use_subcommand -a " + verb.name + " -d '" + plain(verb.text) + "'\n";
    for (const Entry& entry : verb.entries) {
      out += "complete -c nervus -n '__fish_seen_subcommand_from " + verb.name + "'";
      if (!entry.positional) out += " -l " + entry.name.substr(2) + " -d '" + plain(entry.text) + "'";
      if (entry.kind == Kind::directory) out += " -xa '(__fish_complete_directories)'";
      if (entry.kind == Kind::file) out += entry.positional ? " -F" : " -rF";
      if (entry.kind == Kind::words) out += " -xa '" + entry.words + "'";
      if (entry.kind == Kind::camera) out += std::string(" -xa '") + cameras + "'";
      if (entry.kind == Kind::anything) out += " -x";
      out += '\n';
    }
  }
  return out;
}

}  // namespace

Command add_completion(CLI::App& verb, const Output& output) {
  const auto shell = std::make_shared<std::string>();
  accept_only(*verb.add_option("SHELL", *shell, "bash, zsh or fish")->required(), {"bash", "zsh", "fish"});
  verb.footer(
      "Example:\n  source <(nervus completion bash)\n  nervus completion fish > "
      "~/.config/fish/completions/nervus.fish\n");
  return [shell, &verb, &output] {
    const std::vector<Verb> verbs = verbs_of(*verb.get_parent());
    const std::string script = *shell == "bash"  ? bash_script(verbs)
                               : *shell == "zsh" ? zsh_script(verbs)
                                                 : fish_script(verbs);
    output.text(script.substr(0, script.size() - 1));
    output.document({{"shell", *shell}, {"script", script}});
    return 0;
  };
}

}  // namespace nervus::cli
