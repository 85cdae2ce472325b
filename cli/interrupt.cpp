#include "cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "nervus/array_file.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

namespace fs = std::filesystem;

// What the thread that waits for signals must remove. Never destroyed: that thread outlives main.
struct Registry {
  std::mutex mutex;
  std::set<fs::path> paths;
  std::function<void()> handler;  // of the next signal
  std::function<void()> hang_up;  // of each SIGHUP
};

Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

bool ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

[[noreturn]] void wait_for(sigset_t signals) {
  int signal = 0;
  while (true) {
    if (sigwait(&signals, &signal) != 0) continue;
    const std::lock_guard lock(registry().mutex);
    if (signal == SIGHUP && registry().hang_up) {
      registry().hang_up();
      continue;
    }
    if (!registry().handler) break;
    std::exchange(registry().handler, nullptr)();
  }
  const std::lock_guard lock(registry().mutex);
  for (const fs::path& path : registry().paths) {
    std::error_code error;
    fs::remove_all(path, error);
  }
  const std::string_view message = "\nnervus: interrupted\n";
  if (write(STDERR_FILENO, message.data(), message.size()) < 0) _exit(128 + signal);
  _exit(128 + signal);
}

}  // namespace

void watch_interrupts() {
  registry();
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    if (!ignored(signal)) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] { wait_for(signals); }).detach();
}

InterruptHandler::InterruptHandler(std::function<void()> handler, std::function<void()> hang_up) {
  const std::lock_guard lock(registry().mutex);
  registry().handler = std::move(handler);
  registry().hang_up = std::move(hang_up);
}

InterruptHandler::~InterruptHandler() {
  const std::lock_guard lock(registry().mutex);
  registry().handler = nullptr;
  registry().hang_up = nullptr;
}

void expect_output(const fs::path& target) {
  std::error_code error;
  if (target.has_parent_path() && !fs::is_directory(target.parent_path(), error))
    throw Error(ErrorKind::io,
                target.string() + ": cannot be written: there is no directory " + target.parent_path().string());
  if (fs::is_other(target, error))
    throw Error(ErrorKind::io,
                target.string() + ": cannot be written: expected a file, found a pipe, socket or device");
  const std::lock_guard lock(registry().mutex);
  registry().paths.insert(partial_path(target));
}

Unfinished::Unfinished(fs::path target) : target_(std::move(target)) {
  if (!target_.has_filename()) target_ = target_.parent_path();  // "directory/"
  expect_output(target_);
  path_ = target_.parent_path() /
          ("." + target_.stem().string() + ".partial-" + std::to_string(getpid()) + target_.extension().string());
  const std::lock_guard lock(registry().mutex);
  registry().paths.insert(path_);
}

Unfinished::~Unfinished() {
  const std::lock_guard lock(registry().mutex);
  std::error_code error;
  fs::remove_all(path_, error);
  registry().paths.erase(path_);
}

void Unfinished::commit() {
  const std::lock_guard lock(registry().mutex);
  try {
    if (fs::is_directory(path_) && fs::is_directory(target_)) {
      for (const auto& entry : fs::directory_iterator(path_))
        fs::rename(entry.path(), target_ / entry.path().filename());
    } else {
      fs::rename(path_, target_);
    }
  } catch (const fs::filesystem_error& failure) {
    throw Error(ErrorKind::io, target_.string() + ": cannot be written: " + failure.code().message());
  }
}

}  // namespace nervus::cli
