// What the service says over HTTP: health, metrics, status, the page.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "serve/service.h"

namespace nervus::serve {

void Service::update_gauges() {
  metrics_.set("nervus_connections", network_.connections());
  metrics_.set("nervus_sessions", static_cast<double>(clients_.size()));
  metrics_.set("nervus_waiting", static_cast<double>(scheduler_.waiting()));
  metrics_.set("nervus_running", static_cast<double>(scheduler_.running()));
  metrics_.set("nervus_ready", ready() ? 1 : 0);
  std::ifstream memory("/proc/self/statm");
  double total = 0, resident = 0;
  if (memory >> total >> resident)
    metrics_.set("process_resident_memory_bytes", resident * static_cast<double>(sysconf(_SC_PAGESIZE)));
  std::error_code error;
  const std::filesystem::directory_iterator descriptors("/proc/self/fd", error);
  if (!error)
    metrics_.set("process_open_fds",
                 static_cast<double>(std::distance(begin(descriptors), std::filesystem::directory_iterator())));
}

bool Service::is_public(std::string_view path) const {
  return path == "/healthz" || path == "/livez" || path == "/readyz";
}

HttpReply Service::get(std::string_view path) {
  if (path == "/healthz") return {.body = "OK\n"};
  if (path == "/livez") return {.body = "live\n"};
  if (path == "/readyz") {
    if (ready()) return {.body = "ready\n"};
    return {.status = 503, .body = failure_ ? "a device failed\n" : "draining\n"};
  }
  if (path == "/metrics") {
    update_gauges();
    return {.type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics_.text()};
  }
  if (path == "/status") return get_status();
  return get_page(path);
}

HttpReply Service::get_page(std::string_view path) {
  constexpr std::string_view camera = "/camera/";
  if (path == "/") return {.type = "text/html; charset=utf-8", .body = std::string(page_html)};
  if (path == "/page.css") return {.type = "text/css; charset=utf-8", .body = std::string(page_css)};
  if (path == "/page.js") return {.type = "text/javascript; charset=utf-8", .body = std::string(page_js)};
  if (path.starts_with(camera))
    if (const auto image = status_.camera(path.substr(camera.size()))) return {.type = "image/bmp", .body = *image};
  return {.status = 404, .body = "there are /healthz, /livez, /readyz, /metrics, /status and / here\n"};
}

HttpReply Service::get_status() {
  nlohmann::ordered_json document = status_.document();
  const PolicyInfo& policy = info();
  document["ready"] = ready();
  document["policy"] = {{"family", policy.family},
                        {"device", policy.device},
                        {"precision", name_of(policy.precision)},
                        {"robot", options_.rules.robot},
                        {"steps", policy.steps},
                        {"chunk_steps", policy.chunk_steps},
                        {"replicas", replicas_.size()},
                        {"max_batch", options_.most_together},
                        {"version", version()}};
  document["waiting"] = scheduler_.waiting();
  document["running"] = scheduler_.running();
  const auto [calls, requests] = metrics_.total("nervus_batch_size");
  document["batch"] = {{"calls", calls}, {"requests", requests}};
  document["outcomes"] = nlohmann::ordered_json::object();
  for (const auto& [labels, count] : metrics_.values("nervus_requests_total")) {
    const std::size_t quote = labels.find('"') + 1;
    document["outcomes"][labels.substr(quote, labels.rfind('"') - quote)] = count;
  }
  document["sessions"] = nlohmann::ordered_json::array();
  for (const auto& [session, client] : clients_)
    document["sessions"].push_back({{"session", session},
                                    {"peer", client.peer},
                                    {"requests", client.tickets},
                                    {"pending", client.pending.size()},
                                    {"prev_total_ms", client.prev_total_ms.value_or(0)}});
  return {.type = "application/json", .body = document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

}  // namespace nervus::serve
