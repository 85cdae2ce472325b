// Records what replicas compute. A replica's thread leaves a request with its answer in a queue and goes on, whatever
// the disk does: what the queue cannot take is dropped and counted.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "serve/log.h"
#include "serve/metrics.h"
#include "serve/replica.h"

namespace nervus::serve {

// Where frames go.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  virtual std::uint64_t size() const = 0;
  // Throw Error(io).
  virtual void append(std::string_view frame) = 0;
  virtual void sync() = 0;
};

class Recorder {
 public:
  // Into a file of its own. Throws Error(io) if it cannot be made, or is there already.
  Recorder(const std::filesystem::path& file, const std::string& settings, std::uint64_t most_bytes, Metrics& metrics,
           Log& log);
  Recorder(std::unique_ptr<RecordSink> sink, std::uint64_t most_bytes, Metrics& metrics, Log& log);
  // Writes what waits.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // From any thread; does not wait.
  void record(const Job& job, const Answer& answer);

  // What may wait for the disk.
  static constexpr std::size_t most_waiting = 256;
  static constexpr std::uint64_t most_waiting_bytes = std::uint64_t{64} << 20;

 private:
  struct Item;
  void work();
  void write(const Item& item);
  void sync();
  void drop(const char* reason);

  std::unique_ptr<RecordSink> sink_;
  const std::uint64_t most_bytes_;
  Metrics& metrics_;
  Log& log_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Item>> queue_;
  std::uint64_t waiting_bytes_ = 0, dropped_ = 0;
  bool ending_ = false;
  const char* closed_ = nullptr;  // why nothing more is written; of the writer's thread
  std::thread thread_;
};

}  // namespace nervus::serve
