// Whatever a message's bytes: a request of either dialect, or an Error(input); nothing is read beyond the message,
// every state is finite, and every frame has the pixels that it claims.
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "nervus/error.h"
#include "serve/dialect.h"

namespace {

using namespace nervus::serve;
using nervus::Dialect;

void require(bool condition) {
  if (!condition) std::abort();
}

// Every value of the document, by the ways that callers take.
void walk(const MsgpackValue& value, std::string_view message) {
  if (const auto bytes = value.bytes(); bytes && !bytes->empty())
    require(bytes->data() >= message.data() && bytes->data() + bytes->size() <= message.data() + message.size());
  if (const auto text = value.text()) require(is_utf8(*text));
  if (value.kind() == MsgpackKind::array)
    for (const MsgpackValue& element : value.elements()) walk(element, message);
  if (value.kind() != MsgpackKind::map) return;
  for (const auto& [key, entry] : value.entries()) {
    require(value.find(key).has_value());
    walk(entry, message);
  }
}

void read(const MsgpackDocument& document, Dialect dialect) {
  const RequestRules rules{.dialect = dialect,
                           .cameras = {"cam_high", "cam_left_wrist"},
                           .camera_names = {{"exterior", "cam_high"}},
                           .robot = "aloha",
                           .steps = {10, 25}};
  try {
    const Request request = read_request(document, rules);
    require(request.reset || (!request.frames.empty() && !request.state.empty()));
    for (const float value : request.state) require(std::isfinite(value));
    require(request.prompt.size() <= 4096 && is_utf8(request.prompt));
    for (const auto& [camera, image] : observation_of(request).images)
      require(image.rgb.size() == std::size_t{3} * image.width * image.height && !image.rgb.empty());
  } catch (const nervus::Error& error) {
    require(error.kind() == nervus::ErrorKind::input);
    require(is_utf8(error.what()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view message(reinterpret_cast<const char*>(data), bytes);
  try {
    const MsgpackDocument document = MsgpackDocument::read(message);
    require(document.nodes().size() <= MsgpackLimits().nodes);
    walk(document.root(), message);
    for (const Dialect dialect : {Dialect::automatic, Dialect::openpi, Dialect::lingbot}) read(document, dialect);
  } catch (const nervus::Error& error) {
    require(error.kind() == nervus::ErrorKind::input);
  }
  return 0;
}
