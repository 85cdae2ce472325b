// Client: a robot's end of a policy server (nervus serve, or any that speaks openpi's dialect).
//
//   nervus::Client client({.port = 8000, .player = {.actions_per_second = 50}});
//   while (running) {                                          // at the robot's own rate; no call waits for the
//   network
//     if (client.wants_observation()) client.observe(look());
//     const nervus::Motion motion = client.motion();
//     if (!motion.values.empty()) command(motion.values);
//   }
//
// It connects, and connects again, on a thread of its own. Several threads may use one Client; what a callback of the
// player does must not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nervus/error.h"
#include "nervus/observation.h"
#include "nervus/player.h"

namespace nervus {

struct ClientOptions {
  std::string host = "127.0.0.1";  // behind wss:// the connection is encrypted, and the server's certificate verified
  int port = 8000;
  std::string path = "/";
  std::filesystem::path ca_file = {};            // of wss://: whom to trust, in PEM's format; empty: as the system does
  std::string api_key;                           // sent as Authorization: Api-Key; empty: none
  std::map<std::string, std::string> keys = {};  // camera -> key of a request (default: observation/CAMERA)
  std::optional<std::uint64_t> seed = {};        // of the noise; none: the server's
  int steps = 0;                                 // of the denoising; 0: the server's
  double handshake_seconds = 10;                 // for connection, websocket and metadata; not for finding the host
  double backoff_seconds = 0.1;                  // before the second attempt to connect; doubles with each
  double most_backoff_seconds = 5;
  double idle_seconds = 10;  // of silence: half of it brings a ping, all of it ends the connection
  std::uint64_t max_message_bytes = std::uint64_t{16} << 20;
  PlayerOptions player = {};
  // A line a happening, on the network's thread; empty: none. What it throws is dropped.
  std::function<void(const std::string& line)> log = {};
};

// What a server says of itself; fields that it leaves out are empty or 0.
struct ServerInfo {
  std::string server, version, family, precision, robot;
  std::vector<std::string> cameras, joints;
  std::int64_t chunk_steps = 0, state_dimensions = 0, action_dimensions = 0;
};

struct ClientReply {
  ActionChunk chunk;                        // its timing: the server's, stage -> milliseconds
  std::map<std::string, double> server_ms;  // "infer", "queue", "prev_total"
  std::uint64_t seed = 0;                   // that was used, where the server says so
  std::int64_t clamped = 0;                 // values that the guard cut
  double max_excess = 0;
};

struct ClientStatus {
  bool connected = false;
  std::uint64_t connections = 0;  // that were opened so far
  std::string problem;            // why the last one ended, or could not be opened; of a refusal, its words
  double latency_seconds = 0;     // Player::latency_seconds
  PlayerCounts counts;
};

// The server gave no actions: its words as the message. Kind input where the request was wrong, numeric where a value
// was not finite, device where a device failed, io where it may be tried again.
class Refused : public Error {
 public:
  Refused(ErrorKind kind, const std::string& message) : Error(kind, message) {}
  std::string code, hint;  // "guard_tripped"; "send a newer observation"
  std::optional<double> retry_seconds;
  std::optional<Halt> halt;
};

class Client {
 public:
  // Connects in the background. Throws Error(usage) for an option that is wrong.
  explicit Client(ClientOptions options = {});
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  // Ends the connection and waits for its thread; where that is looking up the host's name, for the system's resolver.
  // Not in `log`, which is called on that thread, nor in the player's callback.
  ~Client();

  // Waits until it is connected; false if it is not within so long, at most 3600.
  bool wait_connected(double seconds);
  // Of the server that it is, or was last, connected to.
  ServerInfo server() const;
  ClientStatus status() const;

  // The loop of a robot. Whether the next observation should be sent:
  bool wants_observation();
  // Sends it if one is wanted; says whether it did. Its age, from `observed`, travels with it. Throws Error(usage)
  // where that is yet to come, Error(input) for an image whose size is wrong; nothing is sent or counted then.
  bool observe(const Observation& observation, Instant observed = std::chrono::steady_clock::now());
  // The command of this moment.
  Motion motion(Instant now = std::chrono::steady_clock::now());
  // As Player::reset.
  void reset();

  // One question, one answer, nothing played. Throws Refused; Error(io) without a connection or a reply within so long;
  // Error(usage) for a time that is not from 0.001 to 3600.
  ClientReply infer(const Observation& observation, double timeout_seconds = 30);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace nervus
