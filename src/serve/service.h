// The service: sessions and their requests between the network and the replicas. Each request gets one reply, in the
// order in which the session's requests arrived, by its deadline or, where that is later, with the reply before it;
// nothing is dropped silently.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/log.h"
#include "serve/network.h"
#include "serve/recorder.h"
#include "serve/replica.h"
#include "serve/scheduler.h"
#include "serve/status.h"

namespace nervus::serve {

struct ServiceOptions {
  NetworkOptions network;
  RequestRules rules;
  GuardLimits guard;
  double deadline_ms = 30000;
  std::size_t most_waiting = 64;
  std::size_t most_together = 1;  // requests of one call, which every replica can take
  Clock::duration window = {};    // that such a call waits for more
  // Of a replica's idleness, before its device is asked again: a device that fails is known within 100 ms.
  Clock::duration check = std::chrono::milliseconds(50);
  Clock::duration drain = std::chrono::seconds(30);
  std::filesystem::path record;  // what is computed; empty: nothing
  std::string record_settings;
  std::uint64_t record_max_bytes = std::uint64_t{1} << 30;
  Log::Sink log;
};

class Service final : private NetworkHandler {
 public:
  // Listens; the replicas, at least one, are warm. Throws what Network throws.
  Service(std::vector<std::unique_ptr<Replica>> replicas, const ServiceOptions& options);
  ~Service() override;

  int port() const { return network_.port(); }
  const PolicyInfo& info() const { return info_; }
  const Metrics& metrics() const { return metrics_; }
  // Serves until stop(). Throws Error(device) if a device failed, once everybody has been told: a call that is still
  // under way then, which may never end, is left to the destructor.
  void run();
  // From any thread: the next calls are those of the replicas that `load` gives, as many and warm. Throws what it
  // throws, and Error(checkpoint) where clients would have to speak to them otherwise; then all stays as it is.
  void reload(const std::function<std::vector<std::unique_ptr<Replica>>()>& load);
  // From any thread: takes nothing more and ends when what is under way is done, at once if called again.
  void stop();

 private:
  struct Pending {
    std::uint64_t ticket = 0;
    Clock::time_point arrived, deadline;
    std::optional<std::string> request_id;
    std::optional<std::string> message;  // the reply, once it is there
    bool binary = false;
    bool close = false;  // the session behind it
  };
  struct Client {
    std::string peer;
    std::uint64_t tickets = 0;
    std::deque<Pending> pending;
    Clock::time_point last_arrival;  // of the last request that was answered
    bool awaiting_write = false;
    std::optional<double> prev_total_ms;
  };

  HttpReply get(std::string_view path) override;
  HttpReply get_page(std::string_view path);
  HttpReply get_status();
  bool is_public(std::string_view path) const override;
  void opened(std::uint64_t session, const std::string& peer) override;
  void received(std::uint64_t session, Message message) override;
  void written(std::uint64_t session) override;
  void closed(std::uint64_t session, const std::string& reason) override;
  void alarm() override;
  void connection(const char* outcome) override;

  void replace(std::vector<std::unique_ptr<Replica>> replicas);
  void take(std::uint64_t session, Pending& pending, const Message& message);
  void submit(std::uint64_t session, Pending& pending, const Message& message, Request request);
  void compute(std::size_t replica, std::span<const Job> jobs);
  void check_device(std::size_t replica);
  void fail_device(const std::string& message);
  std::shared_ptr<Replica> replica_of(std::size_t index);
  void settle(const Job& job, Answer& answer);
  void refuse(std::uint64_t session, std::uint64_t ticket, const Refusal& refusal, bool close = false);
  void complete(std::uint64_t session, std::uint64_t ticket, const std::string& outcome, std::string message,
                bool binary, bool close = false);
  void flush(std::uint64_t session);
  void forget_deadline(const Pending& pending, std::uint64_t session);
  void set_alarm();
  void drain();
  void refuse_all(const Refusal& refusal);
  void end_if_drained();
  void end();
  bool ready() const { return !draining_ && !failure_; }
  void update_gauges();

  const ServiceOptions options_;
  std::mutex replicas_mutex_;
  std::vector<std::shared_ptr<Replica>> replicas_;
  const PolicyInfo info_;  // of the first replicas, also after they were replaced
  Guard guard_;
  Metrics metrics_;
  Log log_;
  Status status_;
  Network network_;
  // Of the network's thread:
  std::map<std::uint64_t, Client> clients_;
  std::multimap<Clock::time_point, std::pair<std::uint64_t, std::uint64_t>> deadlines_;
  std::optional<Clock::time_point> drain_by_;
  bool draining_ = false, ended_ = false;
  std::optional<std::string> failure_;
  std::unique_ptr<Recorder> recorder_;
  // Last, so that its threads end first.
  Scheduler scheduler_;
};

}  // namespace nervus::serve
