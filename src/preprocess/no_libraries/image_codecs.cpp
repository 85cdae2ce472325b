// Linked where NERVUS_ENGINE_ONLY leaves out the libraries of image files.
#include "core/message.h"
#include "preprocess/image_file.h"

namespace nervus {

Image decode_png(Bytes, std::string_view name) {
  fail(ErrorKind::unsupported, name, ": a build with NERVUS_ENGINE_ONLY reads no image files: give pixels as an array");
}

Image decode_jpeg(Bytes bytes, std::string_view name) { return decode_png(bytes, name); }

}  // namespace nervus
