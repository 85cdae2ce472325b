// A policy server in this process.
#include "nervus/server.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <functional>
#include <memory>

#include "binding.h"
#include "nervus/error.h"

namespace nervus::python {
namespace {

constexpr const char* dialects[] = {"auto", "openpi", "lingbot"};

void set_dialect(ServeOptions& options, const std::string& name) {
  for (std::size_t i = 0; i < std::size(dialects); ++i) {
    if (name == dialects[i]) {
      options.dialect = static_cast<Dialect>(i);
      return;
    }
  }
  throw Error(ErrorKind::usage, "dialect: expected auto, openpi or lingbot, found '" + name + "'");
}

// A line that could not be written is not worth the robots' connections: what the log raises goes to
// sys.unraisablehook.
std::function<void(const std::string&)> never_raising(std::function<void(const std::string&)> log) {
  return [log = std::move(log)](const std::string& line) {
    try {
      log(line);
    } catch (nb::python_error& error) {
      const nb::gil_scoped_acquire acquired;
      error.discard_as_unraisable("the log of a nervus.Server");
    } catch (...) {  // the interpreter is ending
    }
  };
}

// A server whose log may need the interpreter while its threads are waited for.
struct OwnedServer {
  std::unique_ptr<Server> server;

  explicit OwnedServer(Server loaded) : server(std::make_unique<Server>(std::move(loaded))) {}
  ~OwnedServer() {
    const nb::gil_scoped_release released;
    server.reset();
  }
};

std::unique_ptr<OwnedServer> load(const std::filesystem::path& directory, ServeOptions options) {
  const nb::gil_scoped_release released;
  if (options.log) options.log = never_raising(std::move(options.log));
  Server server = Server::load(directory, options);
  return std::make_unique<OwnedServer>(std::move(server));
}

}  // namespace

void bind_server(nb::module_& module) {
  nb::class_<ServeOptions>(module, "ServeOptions")
      .def(nb::init<>())
      .def_rw("load", &ServeOptions::load)
      .def_rw("devices", &ServeOptions::devices)
      .def_rw("host", &ServeOptions::host)
      .def_rw("port", &ServeOptions::port)
      .def_rw("api_key_file", &ServeOptions::api_key_file)
      .def_rw("insecure", &ServeOptions::insecure)
      .def_rw("origins", &ServeOptions::origins)
      .def_prop_rw(
          "dialect",
          [](const ServeOptions& options) { return std::string(dialects[static_cast<std::size_t>(options.dialect)]); },
          set_dialect)
      .def_rw("cameras", &ServeOptions::cameras)
      .def_rw("prompt", &ServeOptions::prompt)
      .def_rw("seed", &ServeOptions::seed)
      .def_rw("robot_file", &ServeOptions::robot_file)
      .def_rw("deadline_ms", &ServeOptions::deadline_ms)
      .def_rw("max_waiting", &ServeOptions::max_waiting)
      .def_rw("max_connections", &ServeOptions::max_connections)
      .def_rw("max_connections_per_address", &ServeOptions::max_connections_per_address)
      .def_rw("max_message_bytes", &ServeOptions::max_message_bytes)
      .def_rw("drain_seconds", &ServeOptions::drain_seconds)
      .def_rw("record", &ServeOptions::record)
      .def_rw("record_max_bytes", &ServeOptions::record_max_bytes)
      .def_rw("log", &ServeOptions::log);
  using Released = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<OwnedServer>(module, "Server")
      .def_static("load", &load, nb::arg("directory"), nb::arg("options"))
      .def(
          "run", [](OwnedServer& self) { self.server->run(); }, Released())
      .def(
          "stop", [](OwnedServer& self) { self.server->stop(); }, Released())
      .def_prop_ro("port", [](const OwnedServer& self) { return self.server->port(); })
      .def_prop_ro("info", [](const OwnedServer& self) { return self.server->info(); });
}

}  // namespace nervus::python
