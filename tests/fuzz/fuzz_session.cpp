// Whatever a peer sends, the first byte choosing whether behind a handshake (odd) or in place of one: the server
// answers in frames and messages of its own kinds, ends the connection, and serves the next one.
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "serve/fake.h"

namespace {

using namespace nervus;
using namespace nervus::test;

void require(bool condition) {
  if (!condition) std::abort();
}

FakeServer& server() {
  static FakeServer& server = *new FakeServer(
      [](const Observation&, const InferOptions& options, ActionChunk& chunk) {
        if (options.seed == 13) chunk.values[3] = NAN;
        if (options.seed == 14) throw Error(ErrorKind::input, "as the policy says");
      },
      [] {
        serve::ServiceOptions options;
        options.network.max_message_bytes = 1 << 16;
        options.deadline_ms = 2000;
        return options;
      }());
  return server;
}

void check_message(const Frame& frame) {
  if (frame.opcode == 1) {
    const auto error = nlohmann::json::parse(frame.payload).at("error");
    require(!error.at("code").get<std::string>().empty() && error.contains("message") && error.contains("hint"));
  } else if (frame.opcode == 2) {
    const auto document = serve::MsgpackDocument::read(frame.payload);
    for (const char* key : {"actions", "action"})
      if (const auto actions = document.root().find(key); actions && actions->kind() != serve::MsgpackKind::nil)
        for (const float value : serve::read_numbers(*actions, key)) require(std::isfinite(value));
  } else {
    require(frame.opcode >= 8 && frame.opcode <= 10 && frame.payload.size() <= 125);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  if (bytes == 0 || bytes > 1 << 17) return 0;
  const std::string sent(reinterpret_cast<const char*>(data) + 1, bytes - 1);
  Peer peer(server().port());
  const bool opened = data[0] % 2 == 1;
  if (opened) {
    require(peer.handshake().starts_with("HTTP/1.1 101"));
    require(peer.receive().opcode == 2);  // the metadata
  }
  peer.send(sent);
  peer.finish();
  if (!opened) {
    const std::string answer = peer.rest();
    require(answer.empty() || answer.starts_with("HTTP/1.1 "));
    return 0;
  }
  for (Frame frame = peer.receive(); frame.opcode >= 0; frame = peer.receive()) check_message(frame);
  return 0;
}
