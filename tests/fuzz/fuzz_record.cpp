// Bytes that begin with '=' are, behind it, the map of a frame whose checksums are right; with '{' the settings; all
// others are a whole file. Each is read, with views that lie in what was read, or is an Error(input).
#include <cstdint>
#include <cstdlib>

#include "memory_file.h"
#include "nervus/error.h"
#include "serve/record_file.h"
#include "serve/record_settings.h"

namespace {

using namespace nervus::serve;

void read_file(const std::string& bytes) {
  const nervus::fuzz::MemoryFile file(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  RecordReader reader(file.path());
  while (const auto record = reader.next()) {
    const std::string_view all = *record->bytes;
    for (const std::string_view part : {record->request, record->actions, record->outcome, record->message})
      if (part.data() < all.data() || part.data() + part.size() > all.data() + all.size()) std::abort();
    if (record->digest != digest_of(record->shape, record->actions)) std::abort();
  }
  if (reader.end().usable_bytes + reader.end().ignored_bytes != bytes.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    if (bytes.starts_with('{')) read_settings(bytes, "fuzz");
    else if (bytes.starts_with('=')) read_file("nervus-record 1\n" + encode_settings("{}") + frame_of(bytes.substr(1)));
    else read_file(bytes);
  } catch (const nervus::Error& error) {
    if (error.kind() != nervus::ErrorKind::input) std::abort();
  }
  return 0;
}
