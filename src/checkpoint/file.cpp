#include "checkpoint/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/message.h"
#include "nervus/array_file.h"

namespace nervus {

File File::open(const std::filesystem::path& path) {
  File file;
  file.path_ = path.string();
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) fail(ErrorKind::io, file.path_, ": cannot be opened: ", std::strerror(errno));
  file.descriptor_ = std::shared_ptr<const int>(new int(descriptor), [](const int* open) {
    ::close(*open);
    delete open;
  });
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail(ErrorKind::io, file.path_, ": cannot be read: ", std::strerror(errno));
  if (!S_ISREG(status.st_mode)) {
    const char* found = S_ISDIR(status.st_mode) ? "directory" : "pipe, socket or device";
    fail(ErrorKind::io, file.path_, ": expected a file, found a ", found);
  }
  file.size_ = static_cast<std::uint64_t>(status.st_size);
  return file;
}

void File::read(std::uint64_t offset, void* target, std::size_t bytes) const {
  auto* place = static_cast<std::byte*>(target);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t count = ::pread(*descriptor_, place + done, bytes - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ErrorKind::io, path_, ": cannot be read: ", std::strerror(errno));
    if (count == 0) {
      fail(ErrorKind::io, path_, ": expected ", plural(bytes, "byte"), " at offset ", offset,
           ", found the end of the file after ", done);
    }
    done += static_cast<std::size_t>(count);
  }
}

std::string File::read(std::uint64_t offset, std::size_t bytes) const {
  std::string text(bytes, '\0');
  read(offset, text.data(), bytes);
  return text;
}

std::filesystem::path partial_path(const std::filesystem::path& path) {
  return concat(path.string(), ".partial-", ::getpid());
}

OutputFile::OutputFile(const std::filesystem::path& path) : path_(path.string()) {
  std::error_code unknown;  // what cannot be looked up cannot be opened either
  const auto status = std::filesystem::status(path, unknown);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    fail(ErrorKind::io, path_, ": cannot be written: expected a file, found a ",
         std::filesystem::is_directory(status) ? "directory" : "pipe, socket or device");
  }
  temporary_ = partial_path(path).string();
  stream_.open(temporary_, std::ios::binary);
  require(stream_.good());
}

OutputFile::~OutputFile() {
  if (!temporary_.empty()) std::remove(temporary_.c_str());
}

void OutputFile::require(bool done) const {
  if (!done) fail(ErrorKind::io, path_, ": cannot be written: ", std::strerror(errno));
}

void OutputFile::write(const void* data, std::size_t bytes) {
  require(stream_.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes)).good());
}

void OutputFile::finish() {
  stream_.close();
  require(stream_.good() && std::rename(temporary_.c_str(), path_.c_str()) == 0);
  temporary_.clear();
}

bool is_there(const std::filesystem::path& path) {
  std::error_code unknown;
  return std::filesystem::exists(path, unknown);
}

std::string read_text(const std::filesystem::path& path, std::uint64_t limit) {
  const File file = File::open(path);
  if (file.size() <= limit) return file.read(0, file.size());
  fail(ErrorKind::checkpoint, file.path(), ": expected at most ", limit, " bytes, found ", file.size());
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text.data(), text.size());
  file.finish();
}

std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : shortened(text, 120)) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) out += "\\x" + hexadecimal(code, 2);
    else if (c == '\'' || c == '\\') out += {'\\', c};
    else out += c;
  }
  return out + "'";
}

}  // namespace nervus
