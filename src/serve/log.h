// The server's log: a line of JSON a happening.
#pragma once

#include <functional>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace nervus::serve {

class Log {
 public:
  using Sink = std::function<void(const std::string& line)>;
  explicit Log(Sink sink) : sink_(std::move(sink)) {}

  // {"time": "2026-01-31T12:00:00.123Z", "level": ..., "event": ..., and the fields}; `fields` is an object.
  void info(const char* event, const nlohmann::ordered_json& fields) { write("info", event, fields); }
  void warning(const char* event, const nlohmann::ordered_json& fields) { write("warning", event, fields); }
  void error(const char* event, const nlohmann::ordered_json& fields) { write("error", event, fields); }

 private:
  void write(const char* level, const char* event, const nlohmann::ordered_json& fields);

  Sink sink_;
  std::mutex mutex_;
};

}  // namespace nervus::serve
