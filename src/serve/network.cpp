// Accepting, HTTP, and the way from there to a websocket. Boost's templates are slow to compile: only this file and
// websocket.cpp include them.
#include "serve/network.h"

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <map>

#include "core/message.h"
#include "serve/access.h"
#include "serve/websocket.h"

namespace nervus::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t most_header_bytes = 8192;
// The page loads nothing from elsewhere, runs nothing but its script, and is shown in nobody's frame.
constexpr const char* content_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

// A connection's place among those that may be open; given back with the last reference.
struct Seats {
  int open = 0;
  std::map<std::string, int> of_address;
};

class Seat {
 public:
  Seat(Seats& seats, std::string address) : seats_(seats), address_(std::move(address)) {
    ++seats_.open;
    ++seats_.of_address[address_];
  }
  ~Seat() {
    --seats_.open;
    if (--seats_.of_address[address_] == 0) seats_.of_address.erase(address_);
  }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

 private:
  Seats& seats_;
  std::string address_;
};

}  // namespace

class Network::Implementation {
 public:
  class Connection;

  Implementation(const NetworkOptions& options, NetworkHandler& handler) : options_(options), handler_(handler) {}

  void bind();
  void accept();
  void adopt(websocket::stream<beast::tcp_stream> stream, http::request<http::empty_body> request,
             std::shared_ptr<Seat> seat, const std::string& peer);
  void every_tick();
  void end(const std::string& reason);

  const NetworkOptions options_;
  NetworkHandler& handler_;
  Seats seats_;  // outlives the connections that the context still holds
  asio::io_context context_{1};
  tcp::acceptor acceptor_{context_};
  int port_ = 0;  // that it is bound to, also when it is closed
  asio::steady_timer tick_{context_}, alarm_{context_};
  Sessions sessions_{options_, handler_};
  std::uint64_t last_session_ = 0;
  bool ending_ = false;
  Clock::time_point end_by_;
};

// ---- one HTTP connection, which may become a session
class Network::Implementation::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Implementation& network, tcp::socket socket, std::shared_ptr<Seat> seat, std::string peer)
      : network_(network), seat_(std::move(seat)), stream_(std::move(socket)), peer_(std::move(peer)) {}

  void read() {
    parser_.emplace();
    parser_->header_limit(most_header_bytes);
    parser_->body_limit(0);
    stream_.expires_after(network_.options_.handshake);
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return self->failed(error);
      self->answer();
    });
  }

  // Too many are open: says so and closes.
  void refuse() {
    stream_.expires_after(std::chrono::seconds(1));
    reply({503, "text/plain; charset=utf-8", "too many connections; try again later\n"}, false, false);
  }

 private:
  void failed(error_code error) {
    if (error == http::error::end_of_stream ||
        error.category() != http::make_error_code(http::error::end_of_stream).category()) {
      if (error == beast::error::timeout) network_.handler_.connection("timeout");
      stream_.close();
      return;
    }
    network_.handler_.connection("bad_request");
    const int status = error == http::error::header_limit                                          ? 431
                       : error == http::error::body_limit || error == http::error::unexpected_body ? 413
                                                                                                   : 400;
    reply({status, "text/plain; charset=utf-8", error.message() + "\n"}, false, false);
  }

  bool is_authorized() const {
    const std::string& key = network_.options_.api_key;
    const auto& request = parser_->get();
    if (key.empty()) return true;
    // Health is public; a websocket is a session on any path.
    if (!websocket::is_upgrade(request) && network_.handler_.is_public(path())) return true;
    return carries_key(view(request[http::field::authorization]), key);
  }

  // Who is meant: without a key, what a browser was led to by a stranger's name is told nothing.
  bool is_addressed() const {
    const NetworkOptions& options = network_.options_;
    if (!options.api_key.empty() || !is_loopback(options.host) || network_.handler_.is_public(path())) return true;
    const std::string_view host = view(parser_->get()[http::field::host]);
    return host.empty() || names_loopback(host);
  }

  std::string_view path() const {
    const std::string_view target = view(parser_->get().target());
    return target.substr(0, target.find('?'));
  }

  void answer() {
    const auto& request = parser_->get();
    const bool upgrades = websocket::is_upgrade(request);
    const bool keep = request.keep_alive() && !upgrades;
    const bool head = request.method() == http::verb::head;
    const auto refuse = [&](const char* outcome, int status, const std::string& text) {
      network_.handler_.connection(outcome);
      reply({status, "text/plain; charset=utf-8", text + "\n"}, false, head);
    };
    if (!is_authorized())
      return refuse("unauthorized", 401,
                    "a key is needed: Authorization: Bearer KEY, Api-Key KEY, or KEY as the password of Basic");
    if (!upgrades) {
      if (!is_addressed())
        return refuse("origin", 403,
                      "expected a Host of this machine, such as localhost; behind a proxy, start with --api-key-file");
      if (request.method() != http::verb::get && !head) return refuse("bad_request", 405, "GET only");
      return reply(network_.handler_.get(path()), keep, head);
    }
    if (!is_allowed_origin(view(request[http::field::origin]), network_.options_.origins))
      return refuse("origin", 403, "this page may not connect; the server can be told which may");
    if (buffer_.size() > 0) return refuse("bad_request", 400, "data before the websocket was open");
    if (network_.ending_) return refuse("refused", 503, "the server is ending");
    network_.handler_.connection("accepted");
    stream_.expires_never();
    network_.adopt(websocket::stream<beast::tcp_stream>(std::move(stream_)), parser_->release(), std::move(seat_),
                   peer_);
  }

  void reply(const HttpReply& reply, bool keep, bool head) {
    response_ = {};
    response_.version(11);
    response_.result(static_cast<unsigned>(reply.status));
    response_.set(http::field::server, "nervus");
    response_.set(http::field::content_type, reply.type);
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    response_.set("Content-Security-Policy", content_policy);
    // A browser that knows the key sends it for what other pages embed, too.
    response_.set("Cross-Origin-Resource-Policy", "same-origin");
    response_.set("Referrer-Policy", "no-referrer");
    if (reply.status == 405) response_.set(http::field::allow, "GET, HEAD");
    if (reply.status == 401)
      for (const char* challenge : challenges) response_.insert(http::field::www_authenticate, challenge);
    if (reply.status == 503) response_.set(http::field::retry_after, "1");
    response_.keep_alive(keep);
    response_.body() = reply.body;
    response_.prepare_payload();
    if (head) response_.body().clear();
    const auto done = [self = shared_from_this(), keep](error_code error, std::size_t) {
      if (error) return self->stream_.close();
      if (keep && !self->network_.ending_) return self->read();
      self->linger();
    };
    http::async_write(stream_, response_, done);
  }

  // Reads what the peer still sends, so that closing does not reset the connection before the reply is read.
  void linger() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.expires_after(std::chrono::seconds(1));
    drain();
  }

  void drain() {
    stream_.async_read_some(asio::buffer(scratch_), [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return self->stream_.close();
      self->drain();
    });
  }

  Implementation& network_;
  std::shared_ptr<Seat> seat_;
  beast::tcp_stream stream_;
  const std::string peer_;
  beast::flat_buffer buffer_{2 * most_header_bytes};
  std::optional<http::request_parser<http::empty_body>> parser_;
  http::response<http::string_body> response_;
  std::array<char, 4096> scratch_{};
};

void Network::Implementation::bind() {
  error_code error;
  tcp::resolver resolver(context_);
  const auto found = resolver.resolve(options_.host, std::to_string(options_.port), tcp::resolver::passive, error);
  if (error || found.empty())
    fail(ErrorKind::usage, "host '", options_.host,
         "': expected an address of this machine, found none: ", error.message());
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) port_ = acceptor_.local_endpoint(error).port();
  if (error)
    fail(ErrorKind::io, options_.host, " port ", options_.port, ": cannot be listened on: ", error.message(),
         ": choose another port");
}

void Network::Implementation::accept() {
  acceptor_.async_accept([this](error_code error, tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (error) {  // too many descriptors, for one: later there may be fewer
      const auto pause = std::make_shared<asio::steady_timer>(context_, std::chrono::milliseconds(100));
      pause->async_wait([this, pause](error_code) { accept(); });
      return;
    }
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const tcp::endpoint peer = socket.remote_endpoint(ignored);
    const std::string address = peer.address().to_string();
    const auto others = seats_.of_address.find(address);
    const bool full = seats_.open >= options_.max_connections ||
                      (others != seats_.of_address.end() && others->second >= options_.max_connections_per_address);
    const auto seat = full ? nullptr : std::make_shared<Seat>(seats_, address);
    const auto connection =
        std::make_shared<Connection>(*this, std::move(socket), seat, address + ":" + std::to_string(peer.port()));
    if (full) {
      handler_.connection("refused");
      connection->refuse();
    } else {
      connection->read();
    }
    accept();
  });
}

void Network::Implementation::adopt(websocket::stream<beast::tcp_stream> stream,
                                    http::request<http::empty_body> request, std::shared_ptr<Seat> seat,
                                    const std::string& peer) {
  const std::uint64_t id = ++last_session_;
  const auto session = std::make_shared<Session>(sessions_, std::move(stream), std::move(seat), id);
  sessions_.open[id] = session;
  session->open(std::move(request), peer);
}

void Network::Implementation::every_tick() {
  const std::chrono::milliseconds most(ending_ ? 10 : 500);
  tick_.expires_after(std::min<Clock::duration>(most, options_.ping / 4));
  tick_.async_wait([this](error_code error) {
    if (error) return;
    const Clock::time_point now = Clock::now();
    if (ending_ && (sessions_.open.empty() || now >= end_by_)) return context_.stop();
    const auto sessions = sessions_.open;
    for (const auto& [id, session] : sessions) session->tick(now);
    every_tick();
  });
}

void Network::Implementation::end(const std::string& reason) {
  if (ending_) return context_.stop();
  ending_ = true;
  end_by_ = Clock::now() + std::chrono::seconds(1);
  const auto sessions = sessions_.open;
  for (const auto& [id, session] : sessions) session->close(websocket::close_code::going_away, reason);
  every_tick();  // more often from here on
}

Network::Network(const NetworkOptions& options, NetworkHandler& handler)
    : implementation_(std::make_unique<Implementation>(options, handler)) {
  implementation_->bind();
}

Network::~Network() { implementation_->sessions_.open.clear(); }

int Network::port() const { return implementation_->port_; }

void Network::listen() {
  error_code error;
  implementation_->acceptor_.listen(tcp::socket::max_listen_connections, error);
  if (error)
    fail(ErrorKind::io, implementation_->options_.host, " port ", implementation_->options_.port,
         ": cannot be listened on: ", error.message());
  implementation_->accept();
  implementation_->every_tick();
}

void Network::run() { implementation_->context_.run(); }

void Network::post(std::function<void()> function) { asio::post(implementation_->context_, std::move(function)); }

void Network::send(std::uint64_t session, std::string message, bool binary) {
  const auto found = implementation_->sessions_.open.find(session);
  if (found != implementation_->sessions_.open.end()) found->second->send(std::move(message), binary);
}

void Network::close(std::uint64_t session, unsigned code, const std::string& reason) {
  const auto found = implementation_->sessions_.open.find(session);
  if (found == implementation_->sessions_.open.end()) return;
  const auto kept = found->second;
  kept->close(code, reason);
}

void Network::set_alarm(std::optional<Clock::time_point> time) {
  if (!time) {
    implementation_->alarm_.cancel();
    return;
  }
  implementation_->alarm_.expires_at(*time);
  implementation_->alarm_.async_wait([this](error_code error) {
    if (!error) implementation_->handler_.alarm();
  });
}

int Network::connections() const { return implementation_->seats_.open; }

void Network::stop_accepting() {
  error_code ignored;
  implementation_->acceptor_.close(ignored);
}

void Network::end(const std::string& reason) { implementation_->end(reason); }

}  // namespace nervus::serve
