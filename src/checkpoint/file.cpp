#include "checkpoint/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace nervus {

File File::open(const std::filesystem::path& path) {
  File file;
  file.path_ = path.string();
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) fail(ErrorKind::io, file.path_ + ": cannot be opened: " + std::strerror(errno));
  file.descriptor_ = std::shared_ptr<const int>(new int(descriptor), [](const int* open) {
    ::close(*open);
    delete open;
  });
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail(ErrorKind::io, file.path_ + ": cannot be read: " + std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(ErrorKind::io, file.path_ + ": expected a file, found a directory");
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::io, file.path_ + ": expected a file, found a pipe, socket or device");
  file.size_ = static_cast<std::uint64_t>(status.st_size);
  return file;
}

void File::read(std::uint64_t offset, void* target, std::size_t bytes) const {
  auto* place = static_cast<std::byte*>(target);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t count = ::pread(*descriptor_, place + done, bytes - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ErrorKind::io, path_ + ": cannot be read: " + std::strerror(errno));
    if (count == 0) {
      fail(ErrorKind::io, path_ + ": expected " + plural(static_cast<long long>(bytes), "byte") + " at offset " +
                              std::to_string(offset) + ", found the end of the file after " + std::to_string(done));
    }
    done += static_cast<std::size_t>(count);
  }
}

OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path.string()),
      temporary_(path_ + ".partial-" + std::to_string(::getpid())),
      descriptor_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) refuse();
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::refuse() const { fail(ErrorKind::io, path_ + ": cannot be written: " + std::strerror(errno)); }

void OutputFile::write(const void* data, std::size_t bytes) {
  const auto* place = static_cast<const std::byte*>(data);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t count = ::write(descriptor_, place + done, bytes - done);
    if (count < 0 && errno != EINTR) refuse();
    if (count > 0) done += static_cast<std::size_t>(count);
  }
}

void OutputFile::finish() {
  if (::close(std::exchange(descriptor_, -1)) != 0) refuse();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse();
  temporary_.clear();
}

std::string read_text(const std::filesystem::path& path, std::uint64_t limit) {
  const File file = File::open(path);
  if (file.size() > limit) {
    fail(ErrorKind::checkpoint,
         file.path() + ": expected at most " + std::to_string(limit) + " bytes, found " + std::to_string(file.size()));
  }
  std::string text(file.size(), '\0');
  file.read(0, text.data(), text.size());
  return text;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 120;
  std::size_t end = std::min(text.size(), longest);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // UTF-8
  std::string out = "'";
  for (const char c : text.substr(0, end)) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) out += {'\\', 'x', "0123456789abcdef"[code >> 4], "0123456789abcdef"[code & 15]};
    else if (c == '\'' || c == '\\') out += {'\\', c};
    else out += c;
  }
  return out + (end < text.size() ? "...'" : "'");
}

}  // namespace nervus
