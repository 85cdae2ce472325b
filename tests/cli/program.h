// The built program, run as a process of its own.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace nervus::test {

struct Outcome {
  int code = 0;  // exit code; 128 + signal if a signal ended it
  std::string out, err;

  // Standard output as one JSON document.
  nlohmann::json json() const;
};

// Runs `nervus <arguments>` through the shell in `scratch()`, where "$goldens" and "$examples" are those of the
// repository and "tiny" is a synthesised checkpoint. `before` stands in front: environment, or other commands.
Outcome program(const std::string& arguments, const std::string& before = "");

// Starts the program without a shell, sends SIGINT once `path` exists, and returns the exit code. `before` is called
// with the process's number before the signal is sent.
int interrupted(const std::vector<std::string>& arguments, const std::filesystem::path& path,
                const std::function<void(int)>& before = {});

// A directory that lives as long as the test.
const std::filesystem::path& scratch();

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& text);

}  // namespace nervus::test
