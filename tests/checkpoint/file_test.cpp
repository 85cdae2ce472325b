#include "checkpoint/file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "support.h"

using namespace nervus;
using namespace nervus::test;

TEST_CASE("a file is read by position, exactly") {
  const TemporaryDirectory directory;
  const File file = File::open(directory.write("a", "0123456789"));
  CHECK(file.size() == 10);
  CHECK(file.path() == (directory / "a").string());
  std::string middle(4, ' ');
  file.read(3, middle.data(), 4);
  CHECK(middle == "3456");
  file.read(10, nullptr, 0);
}

TEST_CASE("a file that became shorter is an error in words") {
  const TemporaryDirectory directory;
  const File file = File::open(directory.write("a", "0123456789"));
  std::filesystem::resize_file(directory / "a", 5);
  char target[8];
  const auto [kind, message] = error_of([&] { file.read(2, target, 8); }, directory.path());
  CHECK(kind == ErrorKind::io);
  CHECK(message == "a: expected 8 bytes at offset 2, found the end of the file after 3");
}

TEST_CASE("only regular files are opened") {
  const TemporaryDirectory directory;
  REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_directory(directory / "inner");
  const auto open = [&](const char* name) {
    return error_of([&] { File::open(directory / name); }, directory.path()).second;
  };
  CHECK(open("pipe") == "pipe: expected a file, found a pipe, socket or device");
  CHECK(open("inner") == "inner: expected a file, found a directory");
  CHECK(open("absent") == "absent: cannot be opened: No such file or directory");
}

TEST_CASE("what cannot be looked up is not there") {
  const TemporaryDirectory directory;
  CHECK(is_there(directory.write("a", "")));
  CHECK_FALSE(is_there(directory / "b"));
  CHECK_FALSE(is_there(directory / std::string(300, 'a')));
}

TEST_CASE("a text file has a limit") {
  const TemporaryDirectory directory;
  directory.write("a", "0123456789");
  CHECK(read_text(directory / "a", 10) == "0123456789");
  CHECK(error_of([&] { read_text(directory / "a", 9); }, directory.path()).second ==
        "a: expected at most 9 bytes, found 10");
}

TEST_CASE("an output file appears when it is finished, or not at all") {
  const TemporaryDirectory directory;
  directory.write("a", "old");
  {
    OutputFile file(directory / "a");
    file.write("new", 3);
  }
  CHECK(read_bytes(directory / "a") == "old");
  OutputFile file(directory / "a");
  file.write("ne", 2);
  file.write("w", 1);
  file.finish();
  CHECK(read_bytes(directory / "a") == "new");
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);
  const auto [kind, message] = error_of([&] { OutputFile(directory / "absent/a"); }, directory.path());
  CHECK(kind == ErrorKind::io);
  CHECK(message == "absent/a: cannot be written: No such file or directory");
}

TEST_CASE("an output file replaces files alone") {
  const TemporaryDirectory directory;
  REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_directory(directory / "inner");
  const auto write = [&](const char* name) {
    return error_of([&] { write_text(directory / name, "text"); }, directory.path());
  };
  CHECK(write("pipe") == std::pair(ErrorKind::io, std::string("pipe: cannot be written: expected a file, found a pipe, "
                                                              "socket or device")));
  CHECK(write("inner").second == "inner: cannot be written: expected a file, found a directory");
  CHECK(std::filesystem::is_fifo(directory / "pipe"));
}

TEST_CASE("quotes make any bytes fit into a message") {
  CHECK(in_quotes("cam_high") == "'cam_high'");
  CHECK(in_quotes(std::string("a\0b\n'\\", 6)) == "'a\\x00b\\x0a\\'\\\\'");
  CHECK(in_quotes(std::string(119, 'x') + "äb") == "'" + std::string(119, 'x') + "...'");
  CHECK(in_quotes(std::string(118, 'x') + "äb") == "'" + std::string(118, 'x') + "ä...'");
}
