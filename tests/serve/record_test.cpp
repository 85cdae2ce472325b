// Recordings: what is written is read, whatever became of the file.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "checkpoint/support.h"
#include "serve/fake.h"
#include "serve/record_file.h"

using namespace nervus;
using namespace nervus::serve;
using nervus::test::error_of;

namespace fs = std::filesystem;

namespace {

struct Directory {
  fs::path path = fs::temp_directory_path() / ("nervus-record-" + std::to_string(getpid()));
  Directory() { fs::create_directories(path); }
  ~Directory() { fs::remove_all(path); }
};

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

constexpr std::string_view actions = "\0\0\x80?\0\0\0@\0\0\x40@\0\0\x80@";  // 1, 2, 3, 4

Record record_of(std::uint64_t ticket, std::string_view request = "request") {
  return {.session = 3,
          .ticket = ticket,
          .arrived_us = 1700000000000000,
          .answered_ms = 12.5,
          .infer_ms = 10,
          .dialect = "openpi",
          .seed = std::uint64_t{1} << 63,
          .steps = 10,
          .outcome = "ok",
          .message = "",
          .request = request,
          .shape = {2, 2},
          .actions = {actions.data(), 16}};
}

// A file of that many records; `sizes` is told where each ends.
std::string recording(const Directory& directory, int records, std::vector<std::uint64_t>* ends = nullptr) {
  const fs::path path = directory.path / "made";
  fs::remove(path);
  RecordFile file(path, "{}");
  if (ends != nullptr) ends->push_back(file.size());
  for (int i = 0; i < records; ++i) {
    file.append(encode(record_of(static_cast<std::uint64_t>(i))));
    if (ends != nullptr) ends->push_back(file.size());
  }
  return bytes_of(path);
}

struct Read {
  std::vector<std::uint64_t> tickets;
  RecordEnd end;
};

Read read(const fs::path& path) {
  RecordReader reader(path);
  Read all;
  while (const auto record = reader.next()) all.tickets.push_back(record->ticket);
  all.end = reader.end();
  return all;
}

}  // namespace

TEST_CASE("what is recorded is read") {
  const Directory directory;
  const fs::path path = directory.path / "a";
  {
    RecordFile file(path, "settings, whatever they are");
    std::string request(300000, 'r');
    file.append(encode(record_of(7, request)));
    Record refused = record_of(8);
    refused.outcome = "guard_tripped";
    refused.message = "step 3: \xff";
    refused.shape = {0, 0};
    refused.actions = {};
    file.append(encode(refused));
    file.sync();
    CHECK(file.size() == fs::file_size(path));
  }
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  RecordReader reader(path);
  CHECK(reader.settings() == "settings, whatever they are");
  const auto first = reader.next(), second = reader.next();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->session == 3);
  CHECK(first->ticket == 7);
  CHECK(first->arrived_us == 1700000000000000);
  CHECK(first->answered_ms == 12.5);
  CHECK(first->infer_ms == 10);
  CHECK(first->dialect == "openpi");
  CHECK(first->seed == std::uint64_t{1} << 63);
  CHECK(first->steps == 10);
  CHECK(first->outcome == "ok");
  CHECK(first->request == std::string(300000, 'r'));
  CHECK(first->shape == Shape{2, 2});
  CHECK(first->actions == std::string_view(actions.data(), 16));
  CHECK(first->digest == digest_of({2, 2}, {actions.data(), 16}));
  CHECK(digest_of({2, 2}, {actions.data(), 16}) != digest_of({4, 1}, {actions.data(), 16}));
  CHECK(second->outcome == "guard_tripped");
  CHECK(second->message == "step 3: \xff");
  CHECK(second->actions.empty());
  CHECK(!reader.next());
  CHECK(reader.end().why.empty());
  CHECK(reader.end().usable_bytes == fs::file_size(path));
  CHECK(reader.end().ignored_bytes == 0);
}

TEST_CASE("a last record that is cut short at any byte is told, and all before it is read") {
  const Directory directory;
  std::vector<std::uint64_t> ends;
  const std::string whole = recording(directory, 3, &ends);
  REQUIRE(ends.size() == 4);
  const fs::path path = directory.path / "cut";
  for (std::uint64_t size = ends[2]; size <= ends[3]; ++size) {
    write(path, whole.substr(0, size));
    const Read found = read(path);
    CHECK(found.tickets.size() == (size == ends[3] ? 3 : 2));
    CHECK(!found.end.damaged);
    const bool is_whole = size == ends[2] || size == ends[3];
    CHECK(found.end.why == (is_whole ? "" : "byte " + std::to_string(ends[2]) + ": the last record is cut short"));
    CHECK(found.end.usable_bytes == (size == ends[3] ? ends[3] : ends[2]));
    CHECK(found.end.ignored_bytes == (is_whole ? 0 : size - ends[2]));
  }
  write(path, whole.substr(0, ends[2]) + std::string(100, '\0'));
  CHECK(read(path).tickets.size() == 2);
  CHECK(read(path).end.why ==
        "byte " + std::to_string(ends[2]) + ": zeros, as a machine leaves them that loses its power");
  CHECK(!read(path).end.damaged);
}

TEST_CASE("a byte that has changed anywhere is told, and ends what is read") {
  const Directory directory;
  std::vector<std::uint64_t> ends;
  const std::string whole = recording(directory, 3, &ends);
  const fs::path path = directory.path / "changed";
  for (std::uint64_t at = ends[1]; at < ends[2]; ++at) {
    for (const char flip : {'\x01', '\x80'}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      write(path, changed);
      const Read found = read(path);
      CHECK(found.tickets == std::vector<std::uint64_t>{0});
      CHECK(found.end.damaged);
      CHECK(found.end.why ==
            "byte " + std::to_string(ends[1]) +
                (at < ends[1] + 12 ? ": a header's checksum is wrong" : ": a record's checksum is wrong"));
      CHECK(found.end.ignored_bytes == whole.size() - ends[1]);
    }
  }
}

TEST_CASE("what is no recording is refused in words") {
  const Directory directory;
  const fs::path path = directory.path / "x";
  const auto said = [&](const std::string& bytes) {
    write(path, bytes);
    const auto [kind, text] = error_of([&] { RecordReader{path}; }, directory.path);
    CHECK(kind == ErrorKind::input);
    return text;
  };
  const std::string another = "x: expected a recording of 'nervus serve --record', found another file";
  CHECK(said("") == another);
  CHECK(said("{\"a\": 1}") == another);
  CHECK(said("nervus-record 2\n") == another);
  CHECK(said("nervus-record 1\n") == "x: holds no whole record: it is empty");
  const std::string whole = recording(directory, 0);
  CHECK(said(whole.substr(0, whole.size() - 1)) == "x: holds no whole record: byte 16: the last record is cut short");
  CHECK(said(whole.substr(0, 20)) == "x: holds no whole record: byte 16: the last record is cut short");
  std::string changed = whole;
  changed.back() = '!';
  CHECK(said(changed) == "x: holds no whole record: byte 16: a record's checksum is wrong");
  CHECK(error_of([&] { RecordReader(directory.path / "none"); }).first == ErrorKind::io);
  CHECK(error_of([&] { RecordReader{directory.path}; }).first == ErrorKind::io);
}

TEST_CASE("a frame that is whole but holds no record is named") {
  const Directory directory;
  const fs::path path = directory.path / "x";
  const std::string begin = recording(directory, 0), at = "x: byte " + std::to_string(begin.size()) + ": ";
  // A frame around the settings' map is as good as any other.
  const std::string settings = encode_settings("s");
  write(path, begin + settings);
  CHECK(error_of([&] { read(path); }, directory.path) ==
        std::pair(ErrorKind::input, at + "field 'session': expected one, found none"));
  const auto said = [&](auto change) {
    Record record = record_of(0);
    change(record);
    write(path, begin + encode(record));
    return error_of([&] { read(path); }, directory.path).second;
  };
  CHECK(said([](Record& r) { r.actions.remove_suffix(4); }) ==
        at + "field 'actions': expected 4 values of 4 bytes, found 12 bytes");
  CHECK(said([](Record& r) { r.actions.remove_suffix(1); }) ==
        at + "field 'actions': expected 4 values of 4 bytes, found 15 bytes");
  CHECK(said([](Record& r) { r.shape = {4}; }) == at + "field 'shape': expected two extents");
  CHECK(said([](Record& r) { r.shape = {-1, 4}; }) == at + "field 'shape': expected integers from 0 below 2^32");
  CHECK(said([](Record& r) { r.arrived_us = -1; }) ==
        at + "field 'arrived_us': expected an integer from 0, found an integer");
  const std::string digest = digest_of({2, 2}, {actions.data(), 16});
  std::string map = encode(record_of(0)).substr(12);
  map.replace(map.find(digest), 1, digest.starts_with('0') ? "1" : "0");
  write(path, begin + frame_of(map));
  CHECK(error_of([&] { read(path); }, directory.path).second ==
        at + "field 'digest': expected that of the actions, " + digest);
  // No writer leaves a frame of nothing, whose checksums would be right.
  write(path, begin + frame_of(""));
  CHECK(read(path).end.damaged);
}

TEST_CASE("a recording does not replace what is there") {
  const Directory directory;
  write(directory.path / "a", "precious");
  CHECK(error_of([&] { RecordFile(directory.path / "a", "{}"); }, directory.path) ==
        std::pair(ErrorKind::io, std::string("a: cannot be recorded to: it exists already: name another file")));
  CHECK(bytes_of(directory.path / "a") == "precious");
  CHECK(error_of([&] { RecordFile(directory.path / "no" / "a", "{}"); }, directory.path) ==
        std::pair(ErrorKind::io, std::string("no/a: cannot be recorded to: No such file or directory")));
}

TEST_CASE("a disk that is full leaves whole records") {
  const Directory directory;
  const fs::path path = directory.path / "a";
  RecordFile file(path, "{}");
  file.append(encode(record_of(0)));
  const std::uint64_t before = file.size();
  // The next write is cut in its middle.
  rlimit was{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &was) == 0);
  rlimit small = was;
  small.rlim_cur = before + 100;
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto [kind, text] = error_of([&] { file.append(encode(record_of(1))); }, directory.path);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &was) == 0);
  ::signal(SIGXFSZ, handler);
  CHECK(kind == ErrorKind::io);
  CHECK(text == "a: cannot be written: File too large");
  CHECK(file.size() == before);
  CHECK(fs::file_size(path) == before);
  file.append(encode(record_of(2)));
  CHECK(read(path).tickets == std::vector<std::uint64_t>{0, 2});
  CHECK(read(path).end.why.empty());
}
