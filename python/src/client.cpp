// A robot's end of a policy server.
#include "nervus/client.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>

#include "binding.h"

namespace nervus::python {
namespace {

// In the order of their enumerations.
constexpr std::array blends = {"latest", "linear", "smooth"}, watchdogs = {"hold", "ramp", "callback"};

template <typename Value>
Value value_named(const char* what, const std::array<const char*, 3>& words, const std::string& name) {
  const auto word = std::find(words.begin(), words.end(), name);
  if (word != words.end()) return static_cast<Value>(word - words.begin());
  throw Error(ErrorKind::usage, std::string(what) + ": expected " + words[0] + ", " + words[1] + " or " + words[2] +
                                    ", found '" + name + "'");
}

// Seconds of Python's time.monotonic(), which is the same clock.
Instant instant(const char* name, double seconds) {
  constexpr double most = 1e9;  // less than what time.time() says
  if (!(std::abs(seconds) <= most)) {
    std::ostringstream message;
    message << name << ": expected seconds of time.monotonic(), at most " << most << ", found " << seconds;
    throw Error(ErrorKind::usage, message.str());
  }
  return Instant(std::chrono::duration_cast<Instant::duration>(std::chrono::duration<double>(seconds)));
}

thread_local bool is_network_thread = false;  // of any client

// A client that any thread may close: what others have under way there keeps it until it ends. Its callbacks may need
// the interpreter while its threads are waited for.
class OwnedClient {
 public:
  explicit OwnedClient(ClientOptions options) {
    if (options.log)
      options.log = [log = std::move(options.log)](const std::string& line) {
        is_network_thread = true;
        log(line);
      };
    client_ = std::shared_ptr<Client>(new Client(std::move(options)), end);
  }
  ~OwnedClient() { close(); }

  void close() {
    const nb::gil_scoped_release released;
    std::shared_ptr<Client> closing;
    const std::lock_guard locked(mutex_);
    closing.swap(client_);
  }
  std::shared_ptr<Client> get() const {
    const std::lock_guard locked(mutex_);
    if (client_ == nullptr) throw Error(ErrorKind::usage, "client: expected one that is open, found it closed");
    return client_;
  }

 private:
  static void end(Client* client) {
    if (!is_network_thread) delete client;
    else std::thread([client] { delete client; }).detach();  // closed by the log: a thread cannot wait for itself
  }

  mutable std::mutex mutex_;
  std::shared_ptr<Client> client_;
};

void bind_player(nb::module_& module) {
  nb::class_<PlayerOptions>(module, "PlayerOptions")
      .def(nb::init<>())
      .def_rw("actions_per_second", &PlayerOptions::actions_per_second)
      .def_rw("interpolate", &PlayerOptions::interpolate)
      .def_prop_rw(
          "blend",
          [](const PlayerOptions& options) { return std::string(blends[static_cast<std::size_t>(options.blend)]); },
          [](PlayerOptions& options, const std::string& name) {
            options.blend = value_named<Blend>("blend", blends, name);
          })
      .def_rw("blend_seconds", &PlayerOptions::blend_seconds)
      .def_rw("max_age_seconds", &PlayerOptions::max_age_seconds)
      .def_rw("request_fraction", &PlayerOptions::request_fraction)
      .def_rw("request_actions", &PlayerOptions::request_actions)
      .def_rw("timeout_seconds", &PlayerOptions::timeout_seconds)
      .def_rw("retry_seconds", &PlayerOptions::retry_seconds)
      .def_prop_rw(
          "watchdog",
          [](const PlayerOptions& options) {
            return std::string(watchdogs[static_cast<std::size_t>(options.watchdog)]);
          },
          [](PlayerOptions& options, const std::string& name) {
            options.watchdog = value_named<Watchdog>("watchdog", watchdogs, name);
          })
      .def_rw("ramp_seconds", &PlayerOptions::ramp_seconds)
      .def(
          "set_callback",
          [](PlayerOptions& options, std::function<std::vector<float>(double, std::vector<float>, bool)> callback) {
            options.callback = [callback = std::move(callback)](const WatchdogCall& call) {
              return callback(call.seconds, call.last, call.stopped);
            };
          },
          nb::arg("callback"), "callback(seconds, last, stopped) -> the command");
  nb::class_<PlayerCounts>(module, "PlayerCounts", "What became of a client's requests.")
      .def_ro("requests", &PlayerCounts::requests)
      .def_ro("taken", &PlayerCounts::taken)
      .def_ro("stale", &PlayerCounts::stale)
      .def_ro("older", &PlayerCounts::older)
      .def_ro("invalid", &PlayerCounts::invalid)
      .def_ro("refused", &PlayerCounts::refused)
      .def_ro("lost", &PlayerCounts::lost)
      .def_ro("watchdog", &PlayerCounts::watchdog, "how often it had to act")
      .def("__repr__", &describe);
  nb::class_<Motion>(module, "Motion", "The command of a moment.")
      .def_prop_ro(
          "state", [](const Motion& motion) { return std::string(name_of(motion.state)); },
          "\"waiting\", \"playing\", \"ramping\", \"holding\", \"callback\" or \"stopped\"")
      .def_ro("values", &Motion::values, "one a joint; empty before the first chunk")
      .def_ro("request", &Motion::request, "whose chunk plays; 0: none")
      .def_ro("weight", &Motion::weight, "of that chunk, against those before it")
      .def_ro("age_seconds", &Motion::age_seconds, "of its observation")
      .def("__repr__", &describe);
}

void bind_client_values(nb::module_& module) {
  nb::class_<ClientOptions>(module, "ClientOptions")
      .def(nb::init<>())
      .def_rw("host", &ClientOptions::host)
      .def_rw("port", &ClientOptions::port)
      .def_rw("path", &ClientOptions::path)
      .def_rw("ca_file", &ClientOptions::ca_file)
      .def_rw("api_key", &ClientOptions::api_key)
      .def_rw("keys", &ClientOptions::keys)
      .def_rw("seed", &ClientOptions::seed)
      .def_rw("steps", &ClientOptions::steps)
      .def_rw("handshake_seconds", &ClientOptions::handshake_seconds)
      .def_rw("backoff_seconds", &ClientOptions::backoff_seconds)
      .def_rw("most_backoff_seconds", &ClientOptions::most_backoff_seconds)
      .def_rw("idle_seconds", &ClientOptions::idle_seconds)
      .def_rw("max_message_bytes", &ClientOptions::max_message_bytes)
      .def_rw("player", &ClientOptions::player)
      .def_rw("log", &ClientOptions::log);
  nb::class_<ServerInfo>(module, "ServerInfo", "What a server says of itself; what it leaves out is empty or 0.")
      .def_ro("server", &ServerInfo::server)
      .def_ro("version", &ServerInfo::version)
      .def_ro("family", &ServerInfo::family)
      .def_ro("precision", &ServerInfo::precision)
      .def_ro("robot", &ServerInfo::robot)
      .def_ro("cameras", &ServerInfo::cameras)
      .def_ro("joints", &ServerInfo::joints)
      .def_ro("chunk_steps", &ServerInfo::chunk_steps)
      .def_ro("state_dimensions", &ServerInfo::state_dimensions)
      .def_ro("action_dimensions", &ServerInfo::action_dimensions)
      .def("__repr__", &describe);
  nb::class_<ClientReply>(module, "ClientReply", "One answer of a server.")
      .def_prop_ro("chunk", [](const ClientReply& reply) { return reply.chunk; })
      .def_ro("server_ms", &ClientReply::server_ms)
      .def_ro("seed", &ClientReply::seed)
      .def_ro("clamped", &ClientReply::clamped, "values that the guard cut")
      .def_ro("max_excess", &ClientReply::max_excess);
  nb::class_<ClientStatus>(module, "ClientStatus", "How a client is connected, and what became of its requests.")
      .def_ro("connected", &ClientStatus::connected)
      .def_ro("connections", &ClientStatus::connections, "that were opened so far")
      .def_ro("problem", &ClientStatus::problem, "why the last one ended, or could not be opened")
      .def_ro("latency_seconds", &ClientStatus::latency_seconds, "the longest of the last 16")
      .def_ro("counts", &ClientStatus::counts)
      .def("__repr__", &describe);
}

}  // namespace

void bind_client(nb::module_& module) {
  bind_player(module);
  bind_client_values(module);
  using Released = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<OwnedClient>(module, "Client")
      .def(nb::init<const ClientOptions&>(), nb::arg("options"))
      .def("close", &OwnedClient::close)
      .def(
          "wait_connected", [](OwnedClient& self, double seconds) { return self.get()->wait_connected(seconds); },
          nb::arg("seconds"), Released())
      .def(
          "server", [](OwnedClient& self) { return self.get()->server(); }, Released())
      .def(
          "status", [](OwnedClient& self) { return self.get()->status(); }, Released())
      .def(
          "wants_observation", [](OwnedClient& self) { return self.get()->wants_observation(); }, Released())
      .def(
          "observe",
          [](OwnedClient& self, const Observation& observation, double observed) {
            return self.get()->observe(observation, instant("observed", observed));
          },
          nb::arg("observation"), nb::arg("observed"), Released())
      .def(
          "motion", [](OwnedClient& self, double now) { return self.get()->motion(instant("now", now)); },
          nb::arg("now"), Released())
      .def(
          "reset", [](OwnedClient& self) { self.get()->reset(); }, Released())
      .def(
          "infer",
          [](OwnedClient& self, const Observation& observation, double timeout_seconds) {
            return self.get()->infer(observation, timeout_seconds);
          },
          nb::arg("observation"), nb::arg("timeout_seconds"), Released());
}

}  // namespace nervus::python
