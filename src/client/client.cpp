#include "nervus/client.h"

#include <condition_variable>
#include <deque>
#include <mutex>

#include "client/address.h"
#include "client/connection.h"
#include "client/messages.h"
#include "client/path.h"
#include "client/range.h"
#include "core/message.h"

namespace nervus {
namespace {

using client::from_seconds;
using client::to_seconds;
using Lock = std::unique_lock<std::mutex>;

Instant clock_now() { return std::chrono::steady_clock::now(); }

void check_seconds(const char* name, double value) { client::check_range(name, value, 1e-3, 3600); }

void check_options(const ClientOptions& options) {
  client::parse_address(options);
  if (!options.path.starts_with('/')) fail(ErrorKind::usage, "path: expected it to begin with '/'");
  // More than that would be read as another line of the request, or as its end.
  if (options.path.find_first_of(" \r\n") != std::string::npos)
    fail(ErrorKind::usage, "path: expected one line of text without spaces, found '", options.path, "'");
  if (options.api_key.find_first_of("\r\n") != std::string::npos)
    fail(ErrorKind::usage, "api_key: expected one line of text");
  if (options.steps < 0) fail(ErrorKind::usage, "steps: expected 0 (the server's) or more, found ", options.steps);
  if (options.max_message_bytes < 1) fail(ErrorKind::usage, "max_message_bytes: expected 1 or more, found 0");
  check_seconds("handshake_seconds", options.handshake_seconds);
  check_seconds("backoff_seconds", options.backoff_seconds);
  check_seconds("most_backoff_seconds", options.most_backoff_seconds);
  check_seconds("idle_seconds", options.idle_seconds);
}

// What infer() waits for.
struct Question {
  std::optional<ClientReply> reply;
  std::optional<Refused> refused;
  std::string lost;  // why there will be no answer

  bool is_answered() const { return reply || refused || !lost.empty(); }
};

// A request that the server has, in the order in which it answers.
struct Sent {
  std::uint64_t id = 0;
  std::uint64_t of_player = 0;         // its number there; 0: a question
  std::shared_ptr<Question> question;  // of infer()
};

}  // namespace

struct Client::Implementation final : client::ConnectionHandler {
  explicit Implementation(ClientOptions o) : options(std::move(o)), player(options.player) {
    check_options(options);
    connection = std::make_unique<client::Connection>(options, *this);
  }
  // The connection's thread ends before what it uses.
  ~Implementation() override { connection.reset(); }

  void say(const std::string& line) const {
    try {
      if (options.log) options.log(line);
    } catch (...) {  // a line that could not be written is not worth the connection, or the process
    }
  }
  void opened(std::string_view metadata) override;
  void received(std::string_view message, bool binary) override;
  void closed(const std::string& why, bool was_open) override;

  void answered(const Sent& sent, client::Reply reply);
  void refused(const Sent& sent, const Refused& error);
  std::optional<Sent> take(const std::optional<std::string>& id);
  void lose(const Sent& sent, const std::string& why);
  // Of the request that is sent next.
  std::string next_message(const Observation& observation, double age_seconds, double deadline_seconds) const;
  void send(std::string message, std::uint64_t of_player, std::shared_ptr<Question> question);
  void end_doubtful();

  // What the player says at a time, which may be that it waits no longer for its request's reply.
  template <typename Answer>
  Answer ask(Answer (Player::*question)(Instant), Instant now) {
    const std::uint64_t lost = player.counts().lost;
    Answer answer = (player.*question)(now);
    if (player.counts().lost > lost) end_doubtful();
    return answer;
  }

  const ClientOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  Player player;
  ServerInfo server;
  bool connected = false;
  std::uint64_t connections = 0, last_id = 0;
  std::string problem;
  std::deque<Sent> sent;
  std::unique_ptr<client::Connection> connection;
};

void Client::Implementation::opened(std::string_view metadata) {
  ServerInfo info = client::read_metadata(metadata);
  say("connected to " + options.host + ":" + std::to_string(options.port));
  const Lock lock(mutex);
  server = std::move(info);
  connected = true;
  problem.clear();
  ++connections;
  changed.notify_all();
}

void Client::Implementation::closed(const std::string& why, bool was_open) {
  say((was_open ? "disconnected: " : "not connected: ") + why);
  const Lock lock(mutex);
  connected = false;
  problem = why;
  player.disconnected(clock_now());
  for (const Sent& one : sent) lose(one, why);
  sent.clear();
  changed.notify_all();
}

void Client::Implementation::lose(const Sent& one, const std::string& why) {
  if (one.question) one.question->lost = why;
}

// The request that a message answers. A server answers a session's requests in order, so that those before it are lost.
std::optional<Sent> Client::Implementation::take(const std::optional<std::string>& id) {
  const auto found =
      std::find_if(sent.begin(), sent.end(), [&](const Sent& one) { return !id || std::to_string(one.id) == *id; });
  if (found == sent.end()) return std::nullopt;
  for (auto one = sent.begin(); one != found; ++one) lose(*one, "the server answered a later request");
  const Sent taken = *found;
  sent.erase(sent.begin(), found + 1);
  return taken;
}

void Client::Implementation::received(std::string_view message, bool binary) {
  if (binary) {
    Lock lock(mutex);
    client::Reply reply = client::read_reply(message, server);
    if (const auto one = take(reply.request_id)) answered(*one, std::move(reply));
  } else {
    const client::Refusal refusal = client::read_refusal(message);
    say(std::string("refused: ") + refusal.error.what());
    const Lock lock(mutex);
    problem = refusal.error.what();
    if (const auto one = take(refusal.request_id)) refused(*one, refusal.error);
  }
  changed.notify_all();
}

void Client::Implementation::answered(const Sent& one, client::Reply reply) {
  if (one.question) {
    one.question->reply = std::move(reply.reply);
    return;
  }
  if (player.replied(one.of_player, reply.reply.chunk, clock_now()) == Arrival::invalid)
    problem = "a reply's actions are not finite, or of another size than those before";
}

void Client::Implementation::refused(const Sent& one, const Refused& error) {
  if (one.question) one.question->refused = error;
  else player.refused(one.of_player, error.halt, error.retry_seconds, clock_now());
}

std::string Client::Implementation::next_message(const Observation& observation, double age_seconds,
                                                 double deadline_seconds) const {
  return client::write_request(observation, options,
                               {.request_id = std::to_string(last_id + 1),
                                .age_ms = std::max(0.0, age_seconds * 1000),
                                .deadline_ms = deadline_seconds * 1000});
}

void Client::Implementation::send(std::string message, std::uint64_t of_player, std::shared_ptr<Question> question) {
  connection->send(std::move(message));
  sent.push_back({.id = ++last_id, .of_player = of_player, .question = std::move(question)});
}

// A reply that is missing leaves it open which request the next one answers, unless replies carry the request's id.
void Client::Implementation::end_doubtful() {
  if (!connected || server.server == "nervus") return;
  connected = false;
  connection->restart("no reply within timeout_seconds");
}

Client::Client(ClientOptions options) : implementation_(std::make_unique<Implementation>(std::move(options))) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

bool Client::wait_connected(double seconds) {
  client::check_range("seconds", seconds, 0, 3600);
  Lock lock(implementation_->mutex);
  return implementation_->changed.wait_for(lock, from_seconds(seconds), [this] { return implementation_->connected; });
}

ServerInfo Client::server() const {
  const Lock lock(implementation_->mutex);
  return implementation_->server;
}

ClientStatus Client::status() const {
  const Implementation& my = *implementation_;
  const Lock lock(implementation_->mutex);
  return {.connected = my.connected,
          .connections = my.connections,
          .problem = my.problem,
          .latency_seconds = my.player.latency_seconds(),
          .counts = my.player.counts()};
}

bool Client::wants_observation() {
  Implementation& my = *implementation_;
  const Lock lock(my.mutex);
  return my.ask(&Player::wants_request, clock_now()) && my.connected;
}

bool Client::observe(const Observation& observation, Instant observed) {
  Implementation& my = *implementation_;
  const Lock lock(my.mutex);
  const Instant now = clock_now();
  if (!my.ask(&Player::wants_request, now) || !my.connected) return false;
  // What may throw comes before what counts.
  std::string message = my.next_message(observation, to_seconds(now - observed), my.options.player.timeout_seconds);
  const std::uint64_t request = my.player.requested(observed, now);
  my.send(std::move(message), request, nullptr);
  return true;
}

Motion Client::motion(Instant now) {
  const Lock lock(implementation_->mutex);
  return implementation_->ask(&Player::motion, now);
}

void Client::reset() {
  const Lock lock(implementation_->mutex);
  implementation_->player.reset();
}

ClientReply Client::infer(const Observation& observation, double timeout_seconds) {
  check_seconds("timeout_seconds", timeout_seconds);
  Implementation& my = *implementation_;
  const auto question = std::make_shared<Question>();
  Lock lock(my.mutex);
  if (!my.connected)
    fail(ErrorKind::io, my.options.host, ":", my.options.port, ": not connected", my.problem.empty() ? "" : ": ",
         my.problem);
  my.send(my.next_message(observation, 0, timeout_seconds), 0, question);
  // The server's own refusal, which comes by the deadline, says more.
  constexpr double grace_seconds = 1;
  my.changed.wait_for(lock, from_seconds(timeout_seconds + grace_seconds), [&] { return question->is_answered(); });
  if (question->refused) throw *question->refused;
  if (!question->lost.empty()) fail(ErrorKind::io, "the connection ended before the reply: ", question->lost);
  if (question->reply) return std::move(*question->reply);
  my.end_doubtful();
  fail(ErrorKind::io, "no reply within ", timeout_seconds, " s");
}

}  // namespace nervus
