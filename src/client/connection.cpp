// Boost's templates are slow to compile: only this file of the room includes them.
#include "client/connection.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <deque>
#include <optional>
#include <thread>

#include "client/backoff.h"
#include "client/path.h"
#include "core/message.h"

namespace nervus::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t most_unwritten = 8;  // messages, before the peer counts as gone

std::string address_of(const ClientOptions& options) {
  const bool bare = options.host.find(':') == std::string::npos;
  return (bare ? options.host : "[" + options.host + "]") + ":" + std::to_string(options.port);
}

}  // namespace

class Connection::Implementation {
 public:
  class Link;

  Implementation(const ClientOptions& options, ConnectionHandler& handler)
      : options_(options),
        handler_(handler),
        backoff_(options.backoff_seconds, options.most_backoff_seconds, std::random_device()()) {}

  void connect();
  void ended(const Link* link, const std::string& why, bool was_open);

  const ClientOptions options_;
  ConnectionHandler& handler_;
  Backoff backoff_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  asio::steady_timer retry_{context_};
  std::shared_ptr<Link> link_;  // the one attempt or connection at a time
  std::thread thread_;
};

// One attempt to connect, and what becomes of it.
class Connection::Implementation::Link : public std::enable_shared_from_this<Link> {
 public:
  explicit Link(Implementation& owner) : owner_(owner), resolver_(owner.context_), stream_(owner.context_) {}

  void connect() {
    const ClientOptions& options = owner_.options_;
    beast::get_lowest_layer(stream_).expires_after(from_seconds(options.handshake_seconds));
    resolver_.async_resolve(options.host, std::to_string(options.port),
                            [self = shared_from_this()](error_code error, const tcp::resolver::results_type& found) {
                              if (error) return self->end("cannot be found: " + error.message());
                              self->dial(found);
                            });
  }

  void send(std::string message) {
    if (!opened_ || ended_) return;
    if (queue_.size() >= most_unwritten) return end("the server reads too slowly");
    queue_.push_back(std::move(message));
    if (queue_.size() == 1) write();
  }

  void end(const std::string& why) {
    if (std::exchange(ended_, true)) return;
    resolver_.cancel();
    beast::get_lowest_layer(stream_).close();
    owner_.ended(this, address_of(owner_.options_) + ": " + why, opened_);
  }

 private:
  void dial(const tcp::resolver::results_type& found) {
    if (ended_) return;
    beast::get_lowest_layer(stream_).expires_after(from_seconds(owner_.options_.handshake_seconds));
    beast::get_lowest_layer(stream_).async_connect(found, [self = shared_from_this()](error_code error, auto&&) {
      if (error) return self->end("cannot be reached: " + error.message());
      self->shake_hands();
    });
  }

  void shake_hands() {
    const ClientOptions& options = owner_.options_;
    error_code ignored;
    beast::get_lowest_layer(stream_).socket().set_option(tcp::no_delay(true), ignored);
    beast::get_lowest_layer(stream_).expires_never();
    stream_.set_option(websocket::stream_base::timeout{from_seconds(options.handshake_seconds),
                                                       from_seconds(options.idle_seconds), true});
    stream_.set_option(websocket::stream_base::decorator([&options](websocket::request_type& request) {
      request.set(beast::http::field::user_agent, "nervus");
      if (!options.api_key.empty()) request.set(beast::http::field::authorization, "Api-Key " + options.api_key);
    }));
    stream_.read_message_max(options.max_message_bytes);
    stream_.auto_fragment(false);
    stream_.binary(true);
    stream_.async_handshake(response_, address_of(options), options.path,
                            [self = shared_from_this()](error_code error) { self->shaken(error); });
  }

  void shaken(error_code error) {
    if (error == websocket::error::upgrade_declined) {
      const std::string& body = response_.body();
      return end(concat("the server answered ", response_.result_int(), ": ",
                        shortened(body.substr(0, body.find_first_of("\r\n")), 200)));
    }
    if (error) return end("no websocket: " + error.message());
    // Until the metadata is there; with the first message the stream's own timeouts count alone.
    const auto late = std::make_shared<asio::steady_timer>(owner_.context_);
    late->expires_after(from_seconds(owner_.options_.handshake_seconds));
    late->async_wait([weak = weak_from_this(), late](error_code cancelled) {
      const auto self = weak.lock();
      if (!cancelled && self && !self->opened_) self->end("it says nothing");
    });
    metadata_timer_ = late;
    read();
  }

  void read() {
    stream_.async_read(buffer_, [self = shared_from_this()](error_code error, std::size_t) { self->received(error); });
  }

  void received(error_code error) {
    if (ended_) return;
    if (error == websocket::error::closed) {
      const std::string reason(stream_.reason().reason.c_str());
      return end(concat("closed by the server with ", stream_.reason().code, reason.empty() ? "" : ": ", reason));
    }
    if (error) return end(error == beast::error::timeout ? "no answer to a ping" : error.message());
    const auto bytes = buffer_.cdata();
    const std::string_view message(static_cast<const char*>(bytes.data()), bytes.size());
    try {
      if (opened_) {
        owner_.handler_.received(message, stream_.got_binary());
      } else {
        if (!stream_.got_binary()) return end("expected a binary frame of metadata, found text");
        owner_.handler_.opened(message);
        opened_ = true;
        metadata_timer_->cancel();
        owner_.backoff_.reset();
      }
    } catch (const Error& wrong) {
      return end(wrong.what());
    }
    buffer_.consume(buffer_.size());
    if (!ended_) read();
  }

  void write() {
    stream_.async_write(asio::buffer(queue_.front()), [self = shared_from_this()](error_code error, std::size_t) {
      if (self->ended_) return;
      if (error) return self->end(error.message());
      self->queue_.pop_front();
      if (!self->queue_.empty()) self->write();
    });
  }

  Implementation& owner_;
  tcp::resolver resolver_;
  websocket::stream<beast::tcp_stream> stream_;
  websocket::response_type response_;
  std::shared_ptr<asio::steady_timer> metadata_timer_;
  beast::flat_buffer buffer_;
  std::deque<std::string> queue_;
  bool opened_ = false, ended_ = false;
};

void Connection::Implementation::connect() {
  link_ = std::make_shared<Link>(*this);
  link_->connect();
}

void Connection::Implementation::ended(const Link* link, const std::string& why, bool was_open) {
  if (link_.get() != link) return;
  handler_.closed(why, was_open);
  retry_.expires_after(from_seconds(backoff_.next_seconds()));
  retry_.async_wait([this](error_code error) {
    if (!error) connect();
  });
}

Connection::Connection(const ClientOptions& options, ConnectionHandler& handler)
    : implementation_(std::make_unique<Implementation>(options, handler)) {
  implementation_->connect();
  implementation_->thread_ = std::thread([this] { implementation_->context_.run(); });
}

Connection::~Connection() {
  implementation_->context_.stop();
  implementation_->thread_.join();
}

void Connection::send(std::string message) {
  asio::post(implementation_->context_,
             [this, message = std::move(message)]() mutable { implementation_->link_->send(std::move(message)); });
}

void Connection::restart(const std::string& why) {
  asio::post(implementation_->context_, [this, why] { implementation_->link_->end(why); });
}

}  // namespace nervus::client
