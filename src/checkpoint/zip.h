// The table of contents of a zip archive of less than 4 GiB (APPNOTE.TXT, section 4.3).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "checkpoint/file.h"

namespace nervus {

// Where the bytes of a stored entry lie in the archive.
struct ZipEntry {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

// Entries by name, all within the file. Throws Error(input) if the archive is damaged, of 4 GiB or more, or
// an entry is compressed or encrypted.
std::map<std::string, ZipEntry> read_zip(const File& file);

}  // namespace nervus
