#include "nervus/server.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <mutex>

#include "core/message.h"
#include "serve/access.h"
#include "serve/guard_file.h"
#include "serve/record_settings.h"
#include "serve/service.h"

namespace nervus {
namespace {

using serve::ServiceOptions;

constexpr std::size_t least_key = 8, most_key = 4096;  // bytes

// The first line of a file.
std::string read_key(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string key(most_key + 1, '\0');
  file.read(key.data(), static_cast<std::streamsize>(key.size()));
  key.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (!file.is_open()) fail(ErrorKind::io, path.string(), ": cannot be read");
  key = key.substr(0, key.find_first_of("\r\n"));
  if (key.size() < least_key || key.size() > most_key)
    fail(ErrorKind::usage, path.string(), ": expected a key of ", least_key, " to ", most_key,
         " bytes in the first line, found ", key.size() > most_key ? "more" : std::to_string(key.size()));
  // What a header cannot carry, or carries without its end, no client could send.
  const bool sendable = std::all_of(key.begin(), key.end(), [](unsigned char c) { return c >= ' ' && c != 0x7f; });
  if (!sendable || key.front() == ' ' || key.back() == ' ')
    fail(ErrorKind::usage, path.string(), ": expected a key without spaces around it and control characters in it");
  return key;
}

std::uint64_t message_bytes(const ServeOptions& options, const PolicyInfo& info) {
  constexpr std::uint64_t most = std::uint64_t{64} << 20, frame = 1920 * 1080 * 3;
  if (options.max_message_bytes > 0) return options.max_message_bytes;
  return std::min<std::uint64_t>(most, 2 * frame * std::max<std::size_t>(info.cameras.size(), 1));
}

void check_options(const ServeOptions& options) {
  if (options.port < 0 || options.port > 65535)
    fail(ErrorKind::usage, "port: expected a number from 0 to 65535, found ", options.port);
  if (!serve::is_loopback(options.host) && options.api_key_file.empty() && !options.insecure)
    fail(ErrorKind::usage, "host '", options.host,
         "' is reached from other machines: name a file with a key for the "
         "clients (api_key_file), or say that none is wanted (insecure)");
  if (options.prompt.size() > 4096) fail(ErrorKind::usage, "prompt: expected at most 4096 bytes");
  // Beyond, clocks overflow.
  if (!(options.deadline_ms > 0 && options.deadline_ms <= 1e9))
    fail(ErrorKind::usage, "deadline_ms: expected a number above 0, at most 1e9, found ", options.deadline_ms);
  if (!(options.drain_seconds >= 0 && options.drain_seconds <= 3600))
    fail(ErrorKind::usage, "drain_seconds: expected a number from 0 to 3600, found ", options.drain_seconds);
  if (options.max_batch < 0 || options.max_batch > 256)
    fail(ErrorKind::usage, "max_batch: expected a number from 0 to 256, found ", options.max_batch);
  if (!(options.batch_window_us >= 0 && options.batch_window_us <= 1e6))
    fail(ErrorKind::usage, "batch_window_us: expected a number from 0 to 1e6");
  if (options.max_waiting < 1 || options.max_connections < 1 || options.max_connections_per_address < 1)
    fail(ErrorKind::usage, "max_waiting, max_connections and max_connections_per_address: expected at least 1");
}

std::vector<std::unique_ptr<serve::Replica>> load_replicas(const std::filesystem::path& directory,
                                                           const ServeOptions& options,
                                                           const std::atomic<bool>& stopping) {
  std::vector<std::unique_ptr<serve::Replica>> replicas;
  const std::vector<std::string> devices =
      options.devices.empty() ? std::vector<std::string>{options.load.device} : options.devices;
  const bool on_gpus = std::find(devices.begin(), devices.end(), "cpu") == devices.end();
  for (const std::string& device : devices) {
    LoadOptions load = options.load;
    load.device = device;
    load.progress = [&](std::int64_t done, std::int64_t total, const std::string& what) {
      if (stopping) fail(ErrorKind::usage, "reload: the server is ending");
      if (options.load.progress) options.load.progress(done, total, what);
    };
    load.limits.batch = options.max_batch > 0 ? options.max_batch : on_gpus ? 4 : 1;
    replicas.push_back(serve::make_replica(Policy::load(directory, load)));
    serve::warm(*replicas.back());
  }
  return replicas;
}

ServiceOptions service_options(const ServeOptions& options, const std::string& key, const PolicyInfo& info) {
  ServiceOptions service;
  service.network = {.host = options.host,
                     .port = options.port,
                     .api_key = key,
                     .origins = options.origins,
                     .max_connections = options.max_connections,
                     .max_connections_per_address = options.max_connections_per_address,
                     .max_message_bytes = message_bytes(options, info)};
  service.rules = {.dialect = options.dialect,
                   .cameras = info.cameras,
                   .camera_names = options.cameras,
                   .robot = options.load.robot,
                   .prompt = options.prompt,
                   .seed = options.seed,
                   .steps = info.steps};
  for (const auto& [key, camera] : options.cameras)
    if (std::find(info.cameras.begin(), info.cameras.end(), camera) == info.cameras.end())
      fail(ErrorKind::usage, "cameras: '", key, "': expected a camera of ", joined(info.cameras), ", found '", camera,
           "'");
  if (!options.robot_file.empty())
    service.guard =
        serve::read_guard_limits(options.robot_file, info.joints, static_cast<std::size_t>(info.action_dimensions));
  service.deadline_ms = options.deadline_ms;
  service.most_waiting = static_cast<std::size_t>(options.max_waiting);
  service.most_together = static_cast<std::size_t>(info.limits.batch);
  service.window = std::chrono::nanoseconds(static_cast<std::int64_t>(options.batch_window_us * 1000));
  service.drain = std::chrono::milliseconds(static_cast<std::int64_t>(options.drain_seconds * 1000));
  service.log = options.log;
  if (!options.record.empty()) {
    service.record = options.record;
    service.record_settings = serve::write_settings(options, info);
    service.record_max_bytes = options.record_max_bytes;
  }
  return service;
}

}  // namespace

struct Server::Implementation {
  Implementation(std::filesystem::path from, const ServeOptions& with)
      : directory(std::move(from)),
        options(with),
        key(options.api_key_file.empty() ? "" : read_key(options.api_key_file)),
        replicas(load_replicas(directory, options, stopping)) {
    const ServiceOptions chosen = service_options(options, key, replicas.front()->info());
    service = std::make_unique<serve::Service>(std::move(replicas), chosen);
  }
  const std::filesystem::path directory;
  const ServeOptions options;
  const std::string key;  // read before anything large is loaded
  std::atomic<bool> stopping = false;
  std::vector<std::unique_ptr<serve::Replica>> replicas;  // until the service has them
  std::unique_ptr<serve::Service> service;
  std::mutex reloading;
};

Server::Server(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

Server Server::load(const std::filesystem::path& directory, const ServeOptions& options) {
  check_options(options);
  return Server(std::make_unique<Implementation>(directory, options));
}

void Server::reload() {
  Implementation& self = *implementation_;
  const std::lock_guard one_at_a_time(self.reloading);
  self.service->reload([&self] { return load_replicas(self.directory, self.options, self.stopping); });
}

int Server::port() const { return implementation_->service->port(); }
const PolicyInfo& Server::info() const { return implementation_->service->info(); }
void Server::run() { implementation_->service->run(); }
void Server::stop() {
  implementation_->stopping = true;
  implementation_->service->stop();
}

}  // namespace nervus
