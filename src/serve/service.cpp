#include "serve/service.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/check.h"
#include "core/message.h"

namespace nervus::serve {
namespace {

constexpr const char* end_reason = "the server ends";
constexpr unsigned unsupported_data = 1003, invalid_payload = 1007, policy_violation = 1008;
// Replies that a session can have behind one that is not there yet: what it sends ahead costs memory, and time of
// everybody's.
constexpr std::size_t most_pending = 1024;

Refusal ending() {
  return {.code = "draining", .message = "the server is ending", .hint = "connect again", .retry_after_ms = 1000};
}

Clock::duration from_ms(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(value));
}

// What a replica chose at load and why, so that nothing falls back silently.
void log_replica(Log& log, std::size_t replica, const PolicyInfo& info) {
  log.info("replica", {{"replica", replica},
                       {"family", info.family},
                       {"device", info.device},
                       {"precision", name_of(info.precision)},
                       {"steps", info.steps},
                       {"max_batch", info.limits.batch},
                       {"weight_bytes", info.weight_bytes},
                       {"workspace_bytes", info.workspace_bytes},
                       {"device_bytes", info.device_bytes},
                       {"graphs", info.graphs},
                       {"load_seconds", info.load_seconds},
                       {"attention_plan", info.attention_plan},
                       {"linear_plan", info.linear_plan}});
}

}  // namespace

Service::Service(std::vector<std::unique_ptr<Replica>> replicas, const ServiceOptions& options)
    : options_(options),
      replicas_(std::make_move_iterator(replicas.begin()), std::make_move_iterator(replicas.end())),
      info_(replicas_.front()->info()),
      guard_(options.guard),
      log_(options.log),
      network_(options.network, *this),
      scheduler_(
          {.replicas = replicas_.size(),
           .most_waiting = options.most_waiting,
           .most_together = options.most_together,
           .window = options.window,
           .idle = options.check},
          [this](std::size_t replica, std::span<const Job> jobs) { compute(replica, jobs); },
          [this](std::size_t replica) { check_device(replica); }) {
  metrics_.set("nervus_replicas", static_cast<double>(replicas_.size()));
  for (std::size_t i = 0; i < replicas_.size(); ++i) log_replica(log_, i, replicas_[i]->info());
  if (!options.record.empty())
    recorder_ =
        std::make_unique<Recorder>(options.record, options.record_settings, options.record_max_bytes, metrics_, log_);
  network_.listen();
}

Service::~Service() { scheduler_.stop(); }

void Service::replace(std::vector<std::unique_ptr<Replica>> replicas) {
  for (const auto& replica : replicas) {
    const PolicyInfo& info = replica->info();
    if (info.cameras != info_.cameras || info.joints != info_.joints || info.steps != info_.steps ||
        info.chunk_steps != info_.chunk_steps || info.state_dimensions != info_.state_dimensions ||
        info.action_dimensions != info_.action_dimensions || info.limits.batch != info_.limits.batch)
      fail(ErrorKind::checkpoint, "reload: expected a policy of the same cameras, joints, steps and dimensions, found ",
           "another: clients would have to speak to it otherwise: start a server for it");
  }
  check(replicas.size() == replicas_.size(), "as many replicas as before");
  for (std::size_t i = 0; i < replicas.size(); ++i) log_replica(log_, i, replicas[i]->info());
  // The old ones go behind the lock: giving a device's memory back takes its time.
  std::vector<std::shared_ptr<Replica>> others(std::make_move_iterator(replicas.begin()),
                                               std::make_move_iterator(replicas.end()));
  const std::lock_guard lock(replicas_mutex_);
  std::swap_ranges(replicas_.begin(), replicas_.end(), others.begin());
}

void Service::reload(const std::function<std::vector<std::unique_ptr<Replica>>()>& load) {
  try {
    replace(load());
    log_.info("reloaded", nlohmann::ordered_json::object());
  } catch (const std::exception& error) {
    log_.error("reload_failed", {{"message", error.what()}});
    throw;
  }
}

void Service::run() {
  log_.info("ready", {{"host", options_.network.host}, {"port", port()}, {"replicas", replicas_.size()}});
  network_.run();
  if (!failure_) scheduler_.stop();
  log_.info("ended", nlohmann::ordered_json::object());
  if (failure_) fail(ErrorKind::device, *failure_);
}

void Service::stop() {
  network_.post([this] {
    if (draining_) return network_.end(end_reason);
    drain();
  });
}

void Service::drain() {
  draining_ = true;
  drain_by_ = Clock::now() + options_.drain;
  network_.stop_accepting();
  log_.info("draining", {{"sessions", clients_.size()}});
  set_alarm();
  end_if_drained();
}

void Service::end_if_drained() {
  if (!draining_) return;
  const bool idle =
      std::all_of(clients_.begin(), clients_.end(), [](const auto& client) { return client.second.pending.empty(); });
  if (idle) end();
}

void Service::end() {
  drain_by_.reset();
  if (!std::exchange(ended_, true)) network_.end(failure_ ? "a device failed" : end_reason);
}

void Service::opened(std::uint64_t session, const std::string& peer) {
  clients_[session].peer = peer;
  scheduler_.set_sessions(clients_.size());
  log_.info("session_opened", {{"session", session}, {"peer", peer}});
  network_.send(session, write_metadata(info(), options_.rules), true);
}

void Service::closed(std::uint64_t session, const std::string& reason) {
  const auto client = clients_.find(session);
  if (client == clients_.end()) return;
  scheduler_.withdraw(session);
  for (const Pending& pending : client->second.pending)
    if (!pending.message) {
      forget_deadline(pending, session);
      metrics_.add("nervus_requests_total", "outcome=\"disconnected\"");
    }
  log_.info("session_closed", {{"session", session}, {"reason", reason}, {"requests", client->second.tickets}});
  clients_.erase(client);
  scheduler_.set_sessions(clients_.size());
  set_alarm();
  end_if_drained();
}

void Service::written(std::uint64_t session) {
  const auto client = clients_.find(session);
  if (client == clients_.end() || !client->second.awaiting_write) return;
  client->second.awaiting_write = false;
  client->second.prev_total_ms = milliseconds(Clock::now() - client->second.last_arrival);
}

void Service::received(std::uint64_t session, Message message) {
  const auto found = clients_.find(session);
  if (found == clients_.end()) return;
  Client& client = found->second;
  if (!message.binary) {
    log_.warning("text_frame", {{"session", session}});
    return network_.close(session, unsupported_data, "expected binary frames of msgpack");
  }
  if (client.pending.size() >= most_pending) {
    log_.warning("too_many_pending", {{"session", session}, {"pending", client.pending.size()}});
    return network_.close(session, policy_violation, "too many requests ahead of their replies");
  }
  const Clock::time_point now = Clock::now();
  client.pending.push_back(
      {.ticket = client.tickets++, .arrived = now, .deadline = now + from_ms(options_.deadline_ms)});
  Pending& pending = client.pending.back();
  const std::uint64_t ticket = pending.ticket;
  try {
    take(session, pending, message);
  } catch (const Error& error) {
    refuse(session, ticket, {.code = "bad_request", .message = error.what(), .hint = "mend the request"});
  }
}

// Reads a request and hands it on. Throws Error(input).
void Service::take(std::uint64_t session, Pending& pending, const Message& message) {
  MsgpackDocument document;
  try {
    document = MsgpackDocument::read(message.bytes);
  } catch (const Error& error) {
    log_.warning("malformed", {{"session", session}, {"message", error.what()}});
    return refuse(session, pending.ticket,
                  {.code = "malformed", .message = error.what(), .hint = "send one map of msgpack a frame"}, true);
  }
  pending.request_id = read_request_id(document);
  if (draining_) return refuse(session, pending.ticket, ending());
  Request request = read_request(document, options_.rules);
  if (request.reset) {
    if (const auto job = scheduler_.withdraw(session))
      refuse(session, job->ticket,
             {.code = "superseded", .message = "the session was reset", .hint = "send the observation again"});
    return complete(session, pending.ticket, "reset", write_reset_reply(), true);
  }
  if (request.deadline_ms) pending.deadline = pending.arrived + from_ms(*request.deadline_ms);
  submit(session, pending, message, std::move(request));
}

void Service::submit(std::uint64_t session, Pending& pending, const Message& message, Request request) {
  const std::uint64_t ticket = pending.ticket;
  deadlines_.emplace(pending.deadline, std::pair(session, ticket));
  const Scheduler::Submission submission =
      scheduler_.submit({.session = session,
                         .ticket = ticket,
                         .message = message.owner,
                         .bytes = message.bytes,
                         .request = std::move(request),
                         .arrived = pending.arrived,
                         .deadline = pending.deadline,
                         .prev_total_ms = clients_.at(session).prev_total_ms,
                         .decode_ms = milliseconds(Clock::now() - pending.arrived)});
  if (submission.retry_after_ms)
    refuse(session, ticket,
           {.code = "overloaded",
            .message = concat("expected at most ", options_.most_waiting, " requests that wait"),
            .hint = "try again after retry_after_ms, or add replicas",
            .retry_after_ms = submission.retry_after_ms});
  if (submission.superseded)
    refuse(session, submission.superseded->ticket,
           {.code = "superseded",
            .message = "a newer request of this session took its place",
            .hint = "wait for the reply before the next request"});
  set_alarm();
}

std::shared_ptr<Replica> Service::replica_of(std::size_t index) {
  const std::lock_guard lock(replicas_mutex_);
  return replicas_[index];
}

// On the replica's thread, when nothing runs there.
void Service::check_device(std::size_t replica) {
  try {
    replica_of(replica)->check_device();
  } catch (const std::exception& error) {
    network_.post([this, message = std::string(error.what())] { fail_device(message); });
  }
}

// On the replica's thread.
void Service::compute(std::size_t replica, std::span<const Job> jobs) {
  const std::shared_ptr<Replica> current = replica_of(replica);
  std::vector<Answer> answers = answer(*current, guard_, jobs, metrics_);
  metrics_.add("nervus_replica_requests_total", concat("replica=\"", replica, "\""), static_cast<double>(jobs.size()));
  for (std::size_t i = 0; i < jobs.size(); ++i) settle(jobs[i], answers[i]);
  if (answers.front().refusal || !status_.wants_cameras()) return;
  status_.show_cameras(observation_of(jobs.front().request), static_cast<int>(info().image_side));
}

void Service::settle(const Job& job, Answer& answer) {
  if (!answer.refusal) status_.record(answer.timing, answer.chunk);
  const auto result = std::make_shared<Answer>(std::move(answer));
  if (recorder_) recorder_->record(job, *result);
  network_.post([this, result, session = job.session, ticket = job.ticket] {
    if (!result->log.empty())
      log_.warning("call_failed", {{"session", session}, {"code", result->refusal->code}, {"message", result->log}});
    if (!result->refusal) return complete(session, ticket, "ok", std::move(result->reply), true);
    refuse(session, ticket, *result->refusal);
    if (result->device_error) fail_device(*result->device_error);
  });
}

// Nothing more can be computed: everybody is told, and the server ends.
void Service::fail_device(const std::string& message) {
  if (failure_) return;
  failure_ = message;
  draining_ = true;
  log_.error("device_failed", {{"message", message}});
  network_.stop_accepting();
  refuse_all(device_failed());
  end();
}

void Service::refuse_all(const Refusal& refusal) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
  for (const auto& [session, client] : clients_)
    for (const Pending& pending : client.pending)
      if (!pending.message) all.emplace_back(session, pending.ticket);
  for (const auto& [session, ticket] : all) {
    scheduler_.withdraw(session, ticket);
    refuse(session, ticket, refusal);
  }
}

void Service::refuse(std::uint64_t session, std::uint64_t ticket, const Refusal& refusal, bool close) {
  const auto client = clients_.find(session);
  if (client == clients_.end()) return;
  std::optional<std::string> id;
  for (const Pending& pending : client->second.pending)
    if (pending.ticket == ticket) id = pending.request_id;
  complete(session, ticket, refusal.code, write_refusal(refusal, id), false, close);
}

// Nothing happens to a request that has its reply already.
void Service::complete(std::uint64_t session, std::uint64_t ticket, const std::string& outcome, std::string message,
                       bool binary, bool close) {
  const auto client = clients_.find(session);
  if (client == clients_.end()) return;
  for (Pending& pending : client->second.pending) {
    if (pending.ticket != ticket || pending.message) continue;
    forget_deadline(pending, session);
    pending.message = std::move(message);
    pending.binary = binary;
    pending.close = close;
    metrics_.add("nervus_requests_total", "outcome=\"" + outcome + "\"");
    if (outcome == "deadline_exceeded") metrics_.add("nervus_deadline_exceeded_total");
    metrics_.observe("nervus_request_seconds", "", milliseconds(Clock::now() - pending.arrived) / 1e3);
    return flush(session);
  }
}

void Service::flush(std::uint64_t session) {
  Client& client = clients_.at(session);
  while (!client.pending.empty() && client.pending.front().message) {
    Pending pending = std::move(client.pending.front());
    client.pending.pop_front();
    client.last_arrival = pending.arrived;
    client.awaiting_write = true;
    network_.send(session, std::move(*pending.message), pending.binary);
    if (!pending.close) continue;
    network_.close(session, invalid_payload, "not msgpack");
    break;
  }
  end_if_drained();
}

void Service::forget_deadline(const Pending& pending, std::uint64_t session) {
  const auto [first, last] = deadlines_.equal_range(pending.deadline);
  for (auto at = first; at != last; ++at)
    if (at->second == std::pair(session, pending.ticket)) {
      deadlines_.erase(at);
      return;
    }
}

void Service::set_alarm() {
  std::optional<Clock::time_point> next = drain_by_;
  if (!deadlines_.empty()) next = std::min(next.value_or(Clock::time_point::max()), deadlines_.begin()->first);
  network_.set_alarm(next);
}

void Service::alarm() {
  const Clock::time_point now = Clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto [session, ticket] = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    scheduler_.withdraw(session, ticket);
    refuse(session, ticket,
           {.code = "deadline_exceeded",
            .message = "there was no result by the request's deadline",
            .hint = "send fewer requests, or allow more deadline_ms"});
  }
  if (drain_by_ && *drain_by_ <= now) {
    refuse_all(ending());
    end();
  }
  set_alarm();
}

void Service::connection(const char* outcome) {
  metrics_.add("nervus_connections_total", concat("outcome=\"", outcome, "\""));
}

}  // namespace nervus::serve
