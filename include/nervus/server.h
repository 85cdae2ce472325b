// Server: policies behind a websocket, for the public openpi and LingBot clients.
//
//   nervus::Server server = nervus::Server::load("lingbot-vla-4b", {.load = {.robot = "robotwin"}});
//   server.run();  // until stop() is called, from any thread; then finishes what is under way and returns
//
// One port speaks websocket (any path), and HTTP: /healthz /livez /readyz /metrics /status and a page at /.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nervus/options.h"
#include "nervus/policy.h"

namespace nervus {

// Names of the wire's keys; `automatic` sees it from each request.
enum class Dialect : std::uint8_t { automatic, openpi, lingbot };

struct ServeOptions {
  LoadOptions load;                  // of every replica, but for the device
  std::vector<std::string> devices;  // one replica each, e.g. "cuda:0", "cuda:1"; empty: load.device

  std::string host = "127.0.0.1";      // an address of this machine; "0.0.0.0" and "::" are all of them
  int port = 8000;                     // 0: any that is free
  std::filesystem::path api_key_file;  // clients must send its first line; empty: none
  bool insecure = false;               // listen beyond this machine without a key
  std::vector<std::string> origins;    // web pages that may connect, e.g. "http://robot:8080"

  Dialect dialect = Dialect::automatic;
  std::map<std::string, std::string> cameras;  // key of a request -> camera, beside the dialects' own
  std::string prompt;                          // where a request has none; empty: a request needs one
  std::uint64_t seed = 0;                      // of the noise, where a request has none
  std::filesystem::path robot_file;            // the guard's limits; empty: actions need only be finite

  double deadline_ms = 30000;  // of a request that names none, from its arrival
  int max_waiting = 64;        // requests that wait, of all sessions together
  // Requests of several sessions that one call computes, each with the bytes that it would get alone; 0: 4 on a GPU, 1
  // on a processor, which gains nothing. Memory is sized by it. A request that is alone starts at once; where several
  // wait, their call waits so long for more.
  int max_batch = 0;
  double batch_window_us = 500;
  int max_connections = 256;  // open at a time
  int max_connections_per_address = 32;
  std::uint64_t max_message_bytes = 0;  // 0: twice three frames of 1920 x 1080 for three views, at most 64 MiB
  double drain_seconds = 30;            // after stop(), for what is under way

  // A file that is not there yet: every request that is computed, with its answer, for replay() of record.h.
  std::filesystem::path record;
  std::uint64_t record_max_bytes = std::uint64_t{1} << 30;  // then nothing more is recorded

  // A line of JSON a happening; empty: none. Called by several threads, one at a time.
  std::function<void(const std::string& line)> log;
};

class Server {
 public:
  // Loads and warms every replica, and listens. Throws Error(checkpoint | unsupported | io | usage | device).
  static Server load(const std::filesystem::path& directory, const ServeOptions& options = {});

  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();

  // The port that it listens on.
  int port() const;
  const PolicyInfo& info() const;
  // From any thread: loads and warms the directory again and serves it from the next call on; what is under way is
  // finished by the replicas that it began with. Devices hold both meanwhile. Throws what load throws, and Error(usage)
  // once stop() was called; then all stays as it is.
  void reload();
  // Serves until stop(), or until a device fails: then throws Error(device) once every client has been told. A call
  // that is still under way then is waited for by the destructor.
  void run();
  // From any thread. A second call refuses what is under way instead of waiting for its replies. run() returns when the
  // calls that compute have ended, also then: one that never ends is the process's to end.
  void stop();

 private:
  struct Implementation;
  explicit Server(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace nervus
