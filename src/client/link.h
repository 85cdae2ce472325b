// One attempt to connect, and what becomes of it: a websocket over any stream. Only connection.cpp and tls.cpp include
// this, since Boost's templates are slow to compile.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <deque>
#include <memory>
#include <string>

#include "client/address.h"
#include "client/backoff.h"
#include "client/connection.h"
#include "client/path.h"
#include "client/readable.h"
#include "core/message.h"

namespace nervus::client {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using boost::system::error_code;

inline constexpr std::size_t most_unwritten = 8;  // messages, before the peer counts as gone

// All on the connection's thread.
class Link {
 public:
  virtual ~Link() = default;
  virtual void connect() = 0;
  virtual void send(std::string message) = 0;
  virtual void end(const std::string& why) = 0;
};

// What the links of a connection share.
struct Network {
  const ClientOptions options;
  const Address address;
  ConnectionHandler& handler;
  Backoff backoff;
  asio::io_context context{1};
  std::function<void(const Link* link, const std::string& why, bool was_open)> ended = {};
};

using MakeLink = std::function<std::shared_ptr<Link>()>;

// Links over TLS. Throws Error(io) for certificates that cannot be read, Error(unsupported) in a build without OpenSSL.
MakeLink tls_links(Network& network);

template <typename Stream>
class WebsocketLink : public Link, public std::enable_shared_from_this<WebsocketLink<Stream>> {
 public:
  template <typename... More>
  explicit WebsocketLink(Network& network, More&... more)
      : network_(network), resolver_(network.context), stream_(network.context, more...) {}

  void connect() override {
    const Address& address = network_.address;
    beast::get_lowest_layer(stream_).expires_after(from_seconds(network_.options.handshake_seconds));
    resolver_.async_resolve(
        address.host, std::to_string(address.port),
        [self = this->shared_from_this()](error_code error, const tcp::resolver::results_type& found) {
          if (error) return self->end("cannot be found: " + error.message());
          self->dial(found);
        });
  }

  void send(std::string message) override {
    if (!opened_ || ended_) return;
    if (queue_.size() >= most_unwritten) return end("the server reads too slowly");
    queue_.push_back(std::move(message));
    if (queue_.size() == 1) write();
  }

  void end(const std::string& why) override {
    if (std::exchange(ended_, true)) return;
    resolver_.cancel();
    beast::get_lowest_layer(stream_).close();
    network_.ended(this, network_.address.text() + ": " + why, opened_);
  }

 protected:
  // What lies between TCP and the websocket is made ready; then shake_hands().
  virtual void secure() { shake_hands(); }

  void shake_hands() {
    const ClientOptions& options = network_.options;
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
    stream_.async_handshake(response_, network_.address.authority(), options.path,
                            [self = this->shared_from_this()](error_code error) { self->shaken(error); });
  }

  Network& network_;
  tcp::resolver resolver_;
  websocket::stream<Stream> stream_;

 private:
  void dial(const tcp::resolver::results_type& found) {
    if (ended_) return;
    auto& socket = beast::get_lowest_layer(stream_);
    socket.expires_after(from_seconds(network_.options.handshake_seconds));
    socket.async_connect(found, [self = this->shared_from_this()](error_code error, auto&&) {
      if (error) return self->end("cannot be reached: " + error.message());
      error_code ignored;
      beast::get_lowest_layer(self->stream_).socket().set_option(tcp::no_delay(true), ignored);
      self->secure();
    });
  }

  void shaken(error_code error) {
    if (error == websocket::error::upgrade_declined) {
      const std::string& body = response_.body();
      return end(concat("the server answered ", response_.result_int(), ": ",
                        readable(shortened(body.substr(0, body.find_first_of("\r\n")), 200))));
    }
    if (error) return end("no websocket: " + error.message());
    // Until the metadata is there; with the first message the stream's own timeouts count alone.
    const auto late = std::make_shared<asio::steady_timer>(network_.context);
    late->expires_after(from_seconds(network_.options.handshake_seconds));
    late->async_wait([weak = this->weak_from_this(), late](error_code cancelled) {
      const auto self = weak.lock();
      if (!cancelled && self && !self->opened_) self->end("it says nothing");
    });
    metadata_timer_ = late;
    read();
  }

  void read() {
    stream_.async_read(buffer_,
                       [self = this->shared_from_this()](error_code error, std::size_t) { self->received(error); });
  }

  void received(error_code error) {
    if (ended_) return;
    if (error == websocket::error::closed) {
      const std::string reason = readable(stream_.reason().reason.c_str());  // Beast refuses what is not UTF-8
      return end(concat("closed by the server with ", stream_.reason().code, reason.empty() ? "" : ": ", reason));
    }
    if (error) return end(error == beast::error::timeout ? "no answer to a ping" : error.message());
    const auto bytes = buffer_.cdata();
    const std::string_view message(static_cast<const char*>(bytes.data()), bytes.size());
    try {
      if (opened_) {
        network_.handler.received(message, stream_.got_binary());
      } else {
        if (!stream_.got_binary()) return end("expected a binary frame of metadata, found text");
        network_.handler.opened(message);
        opened_ = true;
        metadata_timer_->cancel();
        network_.backoff.reset();
      }
    } catch (...) {  // a reply that does not fit into memory, too: nobody is above this thread
      return end(current_error().what());
    }
    buffer_.consume(buffer_.size());
    if (!ended_) read();
  }

  void write() {
    stream_.async_write(asio::buffer(queue_.front()), [self = this->shared_from_this()](error_code error, std::size_t) {
      if (self->ended_) return;
      if (error) return self->end(error.message());
      self->queue_.pop_front();
      if (!self->queue_.empty()) self->write();
    });
  }

  websocket::response_type response_;
  std::shared_ptr<asio::steady_timer> metadata_timer_;
  beast::flat_buffer buffer_;
  std::deque<std::string> queue_;
  bool opened_ = false, ended_ = false;
};

}  // namespace nervus::client
