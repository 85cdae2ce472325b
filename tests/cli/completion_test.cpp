// Completion in a real bash.
#include <doctest/doctest.h>

#include "cli/program.h"

using nervus::test::program;
using nervus::test::scratch;
using nervus::test::write_file;

namespace {

// What bash offers for the last word of "nervus <words>", one a line.
std::string completed(const std::string& words) {
  write_file(scratch() / "complete.sh",
             "source <(\"$1\" completion bash)\nshift\nCOMP_WORDS=(nervus \"$@\")\nCOMP_CWORD=$#\n_nervus\n"
             "printf '%s\\n' \"${COMPREPLY[@]}\"\n");
  return program(words, "bash complete.sh").out;
}

}  // namespace

TEST_CASE("completion: bash offers verbs, options, words and files") {
  CHECK(completed("ru") == "run\n");
  CHECK(completed("co") == "compare\ncompletion\n");
  CHECK(completed("run --prec") == "--precision\n");
  CHECK(completed("run --precision ''") == "f32\nbf16\nf16\nfp8\nint8\n");
  CHECK(completed("run --time-grid b") == "bf16-accumulated\n");
  CHECK(completed("synth --preset t") == "tiny\n");
  CHECK(completed("run --checkpoint tin") == "tiny\n");
  CHECK(completed("run --image cam_l") == "cam_left_wrist=\n");
  CHECK(completed("run --image cam_high = complete") == "complete.sh\n");
  CHECK(completed("inspect tin") == "tiny\n");
  CHECK(completed("replay complete") == "complete.sh\n");
  CHECK(completed("replay --checkpoint tin") == "tiny\n");
  CHECK(completed("replay x --prec") == "--precision\n");
  CHECK(completed("serve --record-m") == "--record-max-mib\n");
  CHECK(completed("rep") == "replay\n");
  CHECK(completed("compare complete") == "complete.sh\n");
  CHECK(completed("completion z") == "zsh\n");
  CHECK(completed("verify --al") == "--all\n");
  CHECK(completed("bench --robot") == "\n");
}

TEST_CASE("completion: a script for each shell names every verb and option") {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const auto outcome = program("completion " + shell);
    CHECK(outcome.code == 0);
    for (const char* word : {"verify", "time-grid", "tiny lingbot-vla-4b", "norm-stats"})
      CHECK_MESSAGE(outcome.out.find(word) != std::string::npos, shell, word);
  }
  CHECK(program("completion bash --json").json()["script"].get<std::string>().starts_with("# bash"));
}
