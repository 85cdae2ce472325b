// nervus completion: scripts for shells, made from the description of the command line itself.
#include <algorithm>

#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

using CLI::detail::find_and_replace;

// How each shell is told what may follow an option, or stand as an argument.
struct Offer {
  std::string bash, zsh, fish;
};

Offer offer_of(const CLI::Option& option) {
  const std::string type = option.get_type_name(), cameras = "cam_high= cam_left_wrist= cam_right_wrist=";
  if (option.get_items_expected_max() == 0) return {};  // nothing follows
  if (type == "DIR") return {"_nervus_files -d", ":directory:_files -/", " -xa '(__fish_complete_directories)'"};
  if (type == "FILE" || type == "PATH") return {"_nervus_files -f", ":file:_files", " -rF"};
  if (type == "CAMERA=FILE")
    return {"_nervus_offer -W '" + cameras + "'; compopt -o nospace 2>/dev/null",
            ":camera:{ if compset -P \"*=\"; then _files; else compadd -S \"\" " + cameras + "; fi }",
            " -xa '" + cameras + "'"};
  if (type.find('|') == std::string::npos) return {"COMPREPLY=()", ":value: ", " -x"};
  const std::string words = find_and_replace(type, "|", " ");
  return {"_nervus_offer -W '" + words + "'", ":value:(" + words + ")", " -xa '" + words + "'"};
}

struct Entry {
  std::string name;  // "--steps"; of an argument its place-holder
  std::string text;
  Offer offer;
  bool positional = false;
};

std::vector<Entry> entries_of(const CLI::App& verb) {
  std::vector<Entry> entries;
  for (const CLI::Option* option : verb.get_options()) {
    const bool positional = option->get_positional();
    const std::string name = option->get_name(positional, !positional);  // "-h,--help"
    std::string text = option->get_description();  // without the letters that end a quoted text in zsh or fish
    for (const char c : std::string("'[]:\\$`")) std::replace(text.begin(), text.end(), c, ' ');
    entries.push_back({name.substr(name.rfind(',') + 1), text, offer_of(*option), positional});
  }
  return entries;
}

using Verbs = std::vector<const CLI::App*>;

// The shell splits words at '=': the file of "cam_high=file" is a word of its own behind a '='.
constexpr const char* bash_frame =
    R"(# bash completion for nervus: source it, or save it in a directory of bash-completion.
_nervus_offer() { mapfile -t COMPREPLY < <(compgen "$@" -- "$current"); }
_nervus_files() { _nervus_offer "$@"; compopt -o filenames 2>/dev/null; }
_nervus() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}
  [[ $current == '=' ]] && { previous='='; current=; }
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then _nervus_offer -W '@verbs--help --version'; return; fi
  if [[ $previous == '=' ]]; then _nervus_files -f; return; fi
  case "$verb $previous" in
@cases  esac
}
complete -F _nervus nervus
)";

constexpr const char* zsh_frame = R"(#compdef nervus
# zsh completion for nervus: save it as _nervus in a directory of $fpath, or source it after compinit.
_nervus() {
  local -a verbs
  verbs=(
@verbs  )
  if (( CURRENT == 2 )); then _describe verb verbs; return; fi
  local verb=$words[2]
  shift words; (( CURRENT-- ))
  case $verb in
@cases  esac
}
if [[ $funcstack[1] == _nervus ]]; then _nervus "$@"; else compdef _nervus nervus; fi
)";

std::string framed(const std::string& frame, const std::string& verbs, const std::string& cases) {
  return find_and_replace(find_and_replace(frame, "@verbs", verbs), "@cases", cases);
}

std::string bash_script(const Verbs& verbs) {
  std::string names, cases;
  for (const CLI::App* verb : verbs) {
    names += verb->get_name() + " ";
    std::string options, argument;
    for (const Entry& entry : entries_of(*verb)) {
      if (entry.positional) argument = "\n      [[ $current == -* ]] || { " + entry.offer.bash + "; }";
      else options += entry.name + " ";
      if (!entry.positional && !entry.offer.bash.empty())
        cases += "    '" + verb->get_name() + " " + entry.name + "') " + entry.offer.bash + " ;;\n";
    }
    cases += "    '" + verb->get_name() + " '*) _nervus_offer -W '" + options + "'" + argument + " ;;\n";
  }
  return framed(bash_frame, names, cases);
}

std::string zsh_script(const Verbs& verbs) {
  std::string names, cases;
  for (const CLI::App* verb : verbs) {
    names += "    '" + verb->get_name() + ":" + find_and_replace(verb->get_description(), "'", " ") + "'\n";
    cases += "    " + verb->get_name() + ") _arguments";
    for (const auto& [name, text, offer, positional] : entries_of(*verb))
      cases += " \\\n      '*" + (positional ? "" : name + "[" + text + "]") + offer.zsh + "'";
    cases += " ;;\n";
  }
  return framed(zsh_frame, names, cases);
}

std::string fish_script(const Verbs& verbs) {
  std::string out =
      "# fish completion for nervus: save it as nervus.fish in ~/.config/fish/completions.\ncomplete -c nervus -f\n";
  for (const CLI::App* verb : verbs) {
    out += "complete -c nervus -n __fish_use_subcommand -a " + verb->get_name() + " -d '" +
           find_and_replace(verb->get_description(), "'", " ") + "'\n";
    for (const auto& [name, text, offer, positional] : entries_of(*verb))
      out += "complete -c nervus -n '__fish_seen_subcommand_from " + verb->get_name() + "'" +
             (positional ? "" : " -l " + name.substr(2) + " -d '" + text + "'") + offer.fish + "\n";
  }
  return out;
}

}  // namespace

Command add_completion(CLI::App& verb, const Output& output) {
  const auto shell = std::make_shared<std::string>();
  add_option(verb, "SHELL", *shell, "bash|zsh|fish", "bash, zsh or fish").required();
  verb.footer(
      "Example:\n  source <(nervus completion bash)\n  nervus completion fish > "
      "~/.config/fish/completions/nervus.fish\n");
  return [shell, &verb, &output] {
    const Verbs verbs = std::as_const(*verb.get_parent()).get_subcommands([](const CLI::App*) { return true; });
    const std::string script = (*shell == "bash" ? bash_script : *shell == "zsh" ? zsh_script : fish_script)(verbs);
    output.text(script.substr(0, script.size() - 1));
    output.document({{"shell", *shell}, {"script", script}});
    return 0;
  };
}

}  // namespace nervus::cli
