// The network's edge: HTTP and websocket on one port, one thread. Knows no policy. What a peer may cost is bounded
// here: connections, bytes of headers and messages, and how long anything may take.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/scheduler.h"

namespace nervus::serve {

struct NetworkOptions {
  std::string host = "127.0.0.1";
  int port = 0;
  std::string api_key;  // empty: none is asked for
  std::vector<std::string> origins;
  int max_connections = 256;
  int max_connections_per_address = 32;
  std::uint64_t max_message_bytes = std::uint64_t{64} << 20;
  Clock::duration handshake = std::chrono::seconds(10);  // of one HTTP request, and of a websocket's opening
  Clock::duration ping = std::chrono::seconds(5);        // of silence, before a ping is sent
  Clock::duration pong = std::chrono::seconds(10);       // that a peer has to be heard after it
  Clock::duration stall = std::chrono::seconds(10);      // of a write, of a slow reader
  Clock::duration receive = std::chrono::seconds(30);    // of one message, from its first byte
};

// A whole message of a session; its bytes live as long as `owner`.
struct Message {
  std::shared_ptr<const void> owner;
  std::string_view bytes;
  bool binary = true;
};

struct HttpReply {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

// What becomes of what arrives; called on the network's thread.
class NetworkHandler {
 public:
  virtual ~NetworkHandler() = default;
  virtual HttpReply get(std::string_view path) = 0;
  virtual bool is_public(std::string_view path) const = 0;  // needs no key
  virtual void opened(std::uint64_t session, const std::string& peer) = 0;
  virtual void received(std::uint64_t session, Message message) = 0;
  // The session's last byte was written of everything that was sent so far.
  virtual void written(std::uint64_t session) = 0;
  virtual void closed(std::uint64_t session, const std::string& reason) = 0;
  virtual void alarm() = 0;
  // "accepted", "refused" (too many), "unauthorized", "origin", "bad_request", "timeout"
  virtual void connection(const char* outcome) = 0;
};

class Network {
 public:
  // Binds, but does not listen yet. Throws Error(usage) for an address that is none, Error(io) if it is taken.
  Network(const NetworkOptions& options, NetworkHandler& handler);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  int port() const;
  void listen();
  // Serves until end() was called and everything is closed.
  void run();
  // Runs a function on the network's thread; from any thread.
  void post(std::function<void()> function);

  // On the network's thread only.
  void send(std::uint64_t session, std::string message, bool binary);
  void close(std::uint64_t session, unsigned code, const std::string& reason);  // behind what was sent
  void set_alarm(std::optional<Clock::time_point> time);
  int connections() const;  // that are open
  void stop_accepting();
  // Closes every session with 1001 behind what was sent, then run() returns; within a second or so.
  void end(const std::string& reason);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace nervus::serve
