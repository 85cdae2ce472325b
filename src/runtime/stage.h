// Stages: the words of the straight line, and how long each took.
#pragma once

#include <chrono>
#include <map>
#include <string>

namespace nervus {

// Stage -> milliseconds.
using StageTimes = std::map<std::string, double>;

// Runs body and adds its time to times[stage]; returns what body returns.
template <typename Body>
decltype(auto) timed(StageTimes& times, const char* stage, Body&& body) {
  struct Clock {
    StageTimes& times;
    const char* stage;
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    ~Clock() {
      times[stage] += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    }
  } clock{times, stage};
  return body();
}

}  // namespace nervus
