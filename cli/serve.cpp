// nervus serve: a policy behind a websocket.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "nervus/error.h"
#include "nervus/server.h"

namespace nervus::cli {
namespace {

struct ServeArguments {
  PolicyOptions policy;
  ServeOptions serve;
  std::string dialect = "auto";
  std::string api_key_file, robot_file, robot, norm_stats, normalization;
  std::vector<std::string> cameras, origins;
  int max_message_mib = 0;
  std::string record;
  int record_max_mib = 1024;
};

ServeOptions serve_options(const ServeArguments& arguments, const Output& output) {
  ServeOptions options = arguments.serve;
  options.load = arguments.policy.load_options(output.progress());
  options.load.robot = arguments.robot;
  options.load.norm_stats = arguments.norm_stats;
  options.load.normalization = arguments.normalization;
  const std::string& devices = arguments.policy.device;
  for (std::size_t at = 0; at <= devices.size();) {
    const std::size_t comma = std::min(devices.find(',', at), devices.size());
    options.devices.push_back(devices.substr(at, comma - at));
    at = comma + 1;
  }
  options.load.device = options.devices.front();
  options.dialect = arguments.dialect == "openpi"    ? Dialect::openpi
                    : arguments.dialect == "lingbot" ? Dialect::lingbot
                                                     : Dialect::automatic;
  options.api_key_file = arguments.api_key_file;
  options.robot_file = arguments.robot_file;
  options.origins = arguments.origins;
  options.record = arguments.record;
  options.record_max_bytes = static_cast<std::uint64_t>(arguments.record_max_mib) << 20;
  options.max_message_bytes = static_cast<std::uint64_t>(arguments.max_message_mib) << 20;
  for (const std::string& camera : arguments.cameras) {
    const std::size_t equals = camera.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == camera.size())
      throw Error(ErrorKind::usage, "--camera: expected CAMERA=KEY, found '" + camera + "'");
    if (!options.cameras.emplace(camera.substr(equals + 1), camera.substr(0, equals)).second)
      throw Error(ErrorKind::usage, "--camera: the key '" + camera.substr(equals + 1) + "' is given twice");
  }
  if (!output.quiet) options.log = [](const std::string& line) { std::cerr << line + "\n" << std::flush; };
  return options;
}

// Reloads one after another, beside whoever asks for it; what became of it is in the server's log.
class Reloader {
 public:
  explicit Reloader(Server& server) : server_(server) {}
  ~Reloader() { join(); }
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  // Nothing where it is under way.
  void begin() {
    if (busy_.exchange(true)) return;
    join();
    thread_ = std::thread([this] {
      try {
        server_.reload();
      } catch (const std::exception&) {
      }
      busy_ = false;
    });
  }

 private:
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  Server& server_;
  std::atomic<bool> busy_ = false;
  std::thread thread_;
};

// Ends the program after so long, with the code of by then: a call that a device never ends must not keep it.
void end_after(double seconds, const std::shared_ptr<const std::atomic<int>>& code) {
  std::thread([=] {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    _exit(*code);
  }).detach();
}

int serve(const ServeArguments& arguments, const Output& output) {
  const auto code = std::make_shared<std::atomic<int>>(0);
  const double drain = arguments.serve.drain_seconds;
  Server server = Server::load(arguments.policy.checkpoint, serve_options(arguments, output));
  // Before anybody is told the address: whoever knows it may end the server.
  Reloader reloader(server);
  const auto end = [&server, drain, code] {
    server.stop();
    end_after(drain + 1.5, code);  // by then everybody has been told
  };
  const InterruptHandler on_interrupt(end, [&reloader] { reloader.begin(); });
  const std::string address = arguments.serve.host + ":" + std::to_string(server.port());
  output.text("serving " + server.info().family + " on " + server.info().device + ": ws://" + address +
              ", and a page at http://" + address + "/");
  output.document({{"address", address},
                   {"port", server.port()},
                   {"family", server.info().family},
                   {"device", server.info().device}});
  std::cout.flush();
  try {
    server.run();
  } catch (const Error& error) {
    *code = output.report(error);
    end_after(drain + 0.5, code);  // everybody has been told; what is under way has as long as after a SIGTERM
  }
  return *code;
}

void add_network(CLI::App& verb, ServeArguments& arguments) {
  ServeOptions& serve = arguments.serve;
  add_option(verb, "--host", serve.host, "ADDRESS",
             "Address to listen on; beyond this machine it takes --api-key-file or --insecure");
  add_option(verb, "--port", serve.port, "N", "Port; 0: any that is free").check(integer_between(0, 65535));
  add_option(
      verb, "--api-key-file", arguments.api_key_file, "FILE",
      "Its first line is the key that clients send: Authorization: Api-Key KEY, Bearer KEY, or a browser's password");
  verb.add_flag("--insecure", serve.insecure, "Serve other machines without a key");
  add_option(verb, "--allow-origin", arguments.origins, "URL", "A web page that may connect, e.g. http://robot:8080");
  add_option(verb, "--max-connections", serve.max_connections, "N", "Open at a time").check(integer_between(1, 65536));
  add_option(verb, "--max-connections-per-address", serve.max_connections_per_address, "N", "Of them, of one address")
      .check(integer_between(1, 65536));
  add_option(verb, "--max-message-mib", arguments.max_message_mib, "N",
             "Largest request; 0: twice the model's number of frames of 1920 x 1080, at most 64")
      .check(integer_between(0, 1024));
}

void add_requests(CLI::App& verb, ServeArguments& arguments) {
  ServeOptions& serve = arguments.serve;
  add_option(verb, "--dialect", arguments.dialect, "auto|openpi|lingbot",
             "Names of the keys; auto: seen from each request");
  add_option(
      verb, "--camera", arguments.cameras, "CAMERA=KEY",
      "A further key of requests that holds this camera's frame, e.g. cam_high=observation/exterior_image_1_left");
  add_option(verb, "--prompt", serve.prompt, "TEXT", "The instruction of requests without one");
  add_seed(verb, serve.seed, "Seed of the noise of requests without one");
  add_option(verb, "--robot", arguments.robot, "NAME", "Whose joints states and actions are: aloha or robotwin");
  add_option(verb, "--norm-stats", arguments.norm_stats, "FILE",
             "Statistics of the robot's data (default: norm_stats.json beside the checkpoint)");
  add_option(verb, "--normalization", arguments.normalization, "TYPE", "As of 'nervus run' (default: the robot's)");
  add_option(
      verb, "--robot-file", arguments.robot_file, "FILE",
      "The guard's limits of each joint, e.g. examples/aloha/limits.json; without it actions need only be finite");
  add_option(verb, "--deadline-ms", serve.deadline_ms, "MS", "Of requests that name none").check(CLI::Range(1.0, 1e9));
  add_option(verb, "--max-waiting", serve.max_waiting, "N", "Requests that wait for a replica")
      .check(integer_between(1, 65536));
  add_option(verb, "--max-batch", serve.max_batch, "N",
             "Requests of several sessions that one call computes; 0: 4 on a GPU, 1 on a processor")
      .check(integer_between(0, 256));
  add_option(verb, "--batch-window-us", serve.batch_window_us, "US",
             "That a call of several requests waits for more; one that is alone starts at once")
      .check(CLI::Range(0.0, 1e6));
  add_option(verb, "--record", arguments.record, "FILE",
             "A file that is not there yet: every request that is computed, with its answer, for 'nervus replay'");
  add_option(verb, "--record-max-mib", arguments.record_max_mib, "N", "Then nothing more is recorded")
      .check(integer_between(1, 1 << 20));
  add_option(verb, "--drain-seconds", serve.drain_seconds, "S", "After SIGTERM, for what is under way")
      .check(CLI::Range(0.0, 3600.0));
}

}  // namespace

Command add_serve(CLI::App& verb, const Output& output) {
  const auto arguments = std::make_shared<ServeArguments>();
  add_checkpoint(verb, arguments->policy.checkpoint);
  add_network(verb, *arguments);
  add_requests(verb, *arguments);
  add_steps(verb, arguments->policy);
  add_device(verb, arguments->policy);
  verb.footer(
      "With --device cuda:0,cuda:1 each device has a replica. SIGTERM and SIGINT finish what is under way and end\n"
      "with 0; a second one ends at once. SIGHUP loads the checkpoint again and serves it from the next call on.\n"
      "The guard is not a certified safety function.\n"
      "\nExample:\n"
      "  nervus serve --checkpoint tiny --robot aloha --norm-stats examples/aloha/norm_stats.json \\\n"
      "      --robot-file examples/aloha/limits.json --port 8000\n");
  return [arguments, &output] { return serve(*arguments, output); };
}

}  // namespace nervus::cli
