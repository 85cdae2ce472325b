// Unfinished work: files and directories that appear under their names only when they are whole, and vanish when the
// program is interrupted.
#pragma once

#include <filesystem>
#include <functional>

namespace nervus::cli {

// From here on SIGINT, SIGTERM and SIGHUP remove all unfinished outputs and end the program with 128 + the signal's
// number (130, 143, 129). Call once, before any other thread is started; signals that the parent ignores stay ignored.
void watch_interrupts();

// While it lives, the first SIGINT or SIGTERM calls `handler`, on another thread, in place of ending the program; the
// next one ends it. `hang_up` is called likewise for every SIGHUP.
class InterruptHandler {
 public:
  InterruptHandler(std::function<void()> handler, std::function<void()> hang_up);
  ~InterruptHandler();
  InterruptHandler(const InterruptHandler&) = delete;
  InterruptHandler& operator=(const InterruptHandler&) = delete;
};

// Of a file that will be written: throws Error(io) if the directory that it goes into is not there, or if it is there
// and no file. From here on a signal also removes what the library has written of it, which is under partial_path.
void expect_output(const std::filesystem::path& target);

// An output under a temporary name beside its target; removed again unless it is committed.
class Unfinished {
 public:
  // The temporary name keeps the target's ending. Throws Error(io) if the target's directory is not there.
  explicit Unfinished(std::filesystem::path target);
  ~Unfinished();
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Renames to the target, replacing a file there; of a directory, moves its files into the target, which is created
  // if need be. Throws Error(io).
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
};

}  // namespace nervus::cli
