// A server whose policy does what a test says, on a port of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "eventually.h"
#include "serve/peer.h"
#include "serve/service.h"

namespace nervus::test {

// Whether what a real policy does with OpenMP, whose threads meet in ways that ThreadSanitizer does not see, is to be
// left out: what is looked at are the server's threads.
#ifdef __SANITIZE_THREAD__
constexpr bool without_openmp = true;
#else
constexpr bool without_openmp = false;
#endif

// Called in place of the policy; may throw, or change the chunk of zeros [4, 2].
using FakePolicy = std::function<void(const Observation&, const InferOptions&, ActionChunk&)>;

class FakeReplica final : public serve::Replica {
 public:
  explicit FakeReplica(FakePolicy policy, std::vector<std::string> cameras = {"cam_high"})
      : policy_(std::move(policy)) {
    info_.family = "fake";
    info_.device = "none";
    info_.steps = {10};
    info_.chunk_steps = 4;
    info_.state_dimensions = info_.action_dimensions = 2;
    info_.cameras = std::move(cameras);
    info_.image_side = 16;
  }
  const PolicyInfo& info() const override { return info_; }
  PolicyInfo& mutable_info() { return info_; }
  // Called when the replica is asked for its device; may throw.
  void on_check(std::function<void()> check) { check_ = std::move(check); }
  void check_device() override {
    if (check_) check_();
  }
  ActionChunk infer(const Observation& observation, const InferOptions& options) override {
    ActionChunk chunk{.steps = 4,
                      .dimensions = 2,
                      .values = std::vector<float>(8),
                      .names = {"a", "b"},
                      .units = {"", ""},
                      .timing = {{"total", 1.0}}};
    if (policy_) policy_(observation, options, chunk);
    return chunk;
  }

 private:
  FakePolicy policy_;
  std::function<void()> check_;
  PolicyInfo info_;
};

// The lines of a server's log.
class LogLines {
 public:
  serve::Log::Sink sink() {
    return [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      lines_.push_back(nlohmann::json::parse(line));
    };
  }
  std::vector<nlohmann::json> of(const std::string& event) const {
    const std::lock_guard lock(mutex_);
    std::vector<nlohmann::json> found;
    for (const nlohmann::json& line : lines_)
      if (line["event"] == event) found.push_back(line);
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<nlohmann::json> lines_;
};

class FakeServer {
 public:
  explicit FakeServer(FakePolicy policy = {}, serve::ServiceOptions options = {}, int replicas = 1)
      : FakeServer(std::move(options), fakes(policy, replicas)) {}
  FakeServer(serve::ServiceOptions options, std::vector<std::unique_ptr<serve::Replica>> all) {
    options.rules.cameras = all.front()->info().cameras;
    options.rules.steps = all.front()->info().steps;
    service_ = std::make_unique<serve::Service>(std::move(all), options);
    thread_ = std::thread([this] {
      try {
        service_->run();
      } catch (const Error& error) {
        failure_ = error.what();
        failure_kind_ = error.kind();
      }
      ended_ = true;
    });
    while (get("/livez").empty()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ~FakeServer() {
    service_->stop();
    service_->stop();
    join();
  }

  void join() {
    if (thread_.joinable()) thread_.join();
  }
  void stop() { service_->stop(); }
  bool ended() const { return ended_; }
  const std::string& failure() const { return failure_; }
  std::optional<ErrorKind> failure_kind() const { return failure_kind_; }
  int port() const { return service_->port(); }
  serve::Service& service() { return *service_; }
  double metric(const char* name, const std::string& labels = "") const {
    return service_->metrics().value(name, labels);
  }

  // "200 body"; "" if the server cannot be reached.
  std::string get(const std::string& path) const {
    try {
      const std::string response =
          Peer(port()).http("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      const std::size_t end = response.find("\r\n\r\n");
      return end == std::string::npos ? "" : response.substr(9, 3) + " " + response.substr(end + 4);
    } catch (const std::exception&) {
      return "";
    }
  }

 private:
  static std::vector<std::unique_ptr<serve::Replica>> fakes(const FakePolicy& policy, int replicas) {
    std::vector<std::unique_ptr<serve::Replica>> all;
    for (int i = 0; i < replicas; ++i) all.push_back(std::make_unique<FakeReplica>(policy));
    return all;
  }

  std::unique_ptr<serve::Service> service_;
  std::thread thread_;
  std::atomic<bool> ended_ = false;
  std::string failure_;
  std::optional<ErrorKind> failure_kind_;
};

// A session that has its metadata.
class Robot : public Peer {
 public:
  explicit Robot(const FakeServer& server, int receive_buffer = 0) : Peer(server.port(), receive_buffer) {
    if (!handshake().starts_with("HTTP/1.1 101") || receive().opcode != 2) throw std::runtime_error("no session");
  }
};

// Of a camera, two joints and a prompt; `seed` tells requests apart.
inline std::string observation(std::uint64_t seed = 0, double deadline_ms = 0, std::vector<float> state = {0, 0}) {
  serve::MsgpackWriter writer;
  writer.map(deadline_ms > 0 ? 5 : 4).text("observation/cam_high").map(4);
  writer.binary("__ndarray__").boolean(true).binary("data").binary("abc").binary("dtype").text("|u1");
  writer.binary("shape").array(3).integer(1).integer(1).integer(3);
  writer.text("observation/state").array(state.size());
  for (const float value : state) writer.real(value);
  writer.text("prompt").text("go").text("seed").natural(seed);
  if (deadline_ms > 0) writer.text("deadline_ms").real(deadline_ms);
  return writer.take();
}

// The code of an error's text frame; "ok 7" for actions of that seed; "closed 1001"; "ended"; "silent".
inline std::string outcome(const Frame& frame) {
  if (frame.opcode == 1) return nlohmann::json::parse(frame.payload)["error"]["code"];
  if (frame.opcode == 8) return "closed " + std::to_string(frame.close_code());
  if (frame.opcode < 0) return frame.opcode == -1 ? "ended" : "silent";
  if (frame.opcode != 2) return "opcode " + std::to_string(frame.opcode);
  const serve::MsgpackDocument document = serve::MsgpackDocument::read(frame.payload);
  const auto seed = document.root().find("seed");
  return seed ? "ok " + std::to_string(*seed->natural()) : "reset";
}

// Something that one thread opens and others wait for.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    wake_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    if (!wake_.wait_for(lock, std::chrono::seconds(30), [this] { return open_; }))
      throw std::runtime_error("a gate was never opened");
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool open_ = false;
};

}  // namespace nervus::test
