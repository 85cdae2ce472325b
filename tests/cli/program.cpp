#include "cli/program.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace nervus::test {
namespace {

namespace fs = std::filesystem;

struct Scratch {
  fs::path path = fs::temp_directory_path() / ("nervus-cli-test-" + std::to_string(getpid()));
  Scratch() { fs::create_directories(path); }
  ~Scratch() { fs::remove_all(path); }
};

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

nlohmann::json Outcome::json() const { return nlohmann::json::parse(out); }

const fs::path& scratch() {
  static const Scratch directory;
  static const bool made = [] {
    const std::string command = "'" NERVUS_PROGRAM "' synth --preset tiny --seed 1 --quiet --out " +
                                (directory.path / "tiny").string() + " > /dev/null";
    return std::system(command.c_str()) == 0;
  }();
  REQUIRE(made);
  return directory.path;
}

Outcome program(const std::string& arguments, const std::string& before) {
  const std::string files = (scratch() / "standard").string();
  const std::string source = NERVUS_SOURCE_DIR;
  // Without separators of fields, what a variable holds stays one word.
  const std::string command = "cd " + scratch().string() + "; IFS=; goldens='" + source +
                              "/tests/goldens'; examples='" + source + "/examples'; nervus='" NERVUS_PROGRAM "'; " +
                              before + " $nervus " + arguments;
  const std::string redirected = "{ " + command + "\n} > " + files + ".out 2> " + files + ".err < /dev/null";
  const int status = std::system(redirected.c_str());
  return {code_of(status), read_file(files + ".out"), read_file(files + ".err")};
}

int interrupted(const std::vector<std::string>& arguments, const fs::path& path,
                const std::function<void(int)>& before) {
  std::vector<std::string> words = {NERVUS_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t process = 0;
  REQUIRE(posix_spawn(&process, NERVUS_PROGRAM, &actions, nullptr, pointers.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  const auto exists = [&] {
    for (const auto& entry : fs::directory_iterator(path.parent_path()))
      if (entry.path().filename().string().starts_with(path.filename().string())) return true;
    return false;
  };
  for (int i = 0; i < 1000 && !exists(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (before) before(process);
  kill(process, SIGINT);
  int status = 0;
  waitpid(process, &status, 0);
  return code_of(status);
}

std::string read_file(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void write_file(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

}  // namespace nervus::test
