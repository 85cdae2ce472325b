#include "serve/log.h"

#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

namespace nervus::serve {

void Log::write(const char* level, const char* event, const nlohmann::ordered_json& fields) {
  if (!sink_) return;
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto since = now.time_since_epoch();
  const auto fraction = std::chrono::duration_cast<std::chrono::milliseconds>(since).count() % 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char date[32], time[40];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(time, sizeof(time), "%s.%03dZ", date, static_cast<int>(fraction));
  nlohmann::ordered_json line = {{"time", time}, {"level", level}, {"event", event}};
  line.update(fields);
  const std::lock_guard lock(mutex_);
  sink_(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace nervus::serve
