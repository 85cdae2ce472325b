#include "serve/websocket.h"

namespace nervus::serve {
namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using boost::system::error_code;

constexpr std::size_t most_unread_replies = 64;  // before nothing more is read from the session

}  // namespace

Session::Session(Sessions& sessions, Stream stream, std::shared_ptr<void> seat, std::uint64_t id)
    : sessions_(sessions), seat_(std::move(seat)), stream_(std::move(stream)), id_(id) {}

void Session::open(Request request, const std::string& peer) {
  request_ = std::move(request);
  stream_.set_option(
      websocket::stream_base::timeout{sessions_.options.handshake, websocket::stream_base::none(), false});
  stream_.set_option(websocket::stream_base::decorator(
      [](websocket::response_type& response) { response.set(beast::http::field::server, "nervus"); }));
  stream_.read_message_max(sessions_.options.max_message_bytes);
  stream_.auto_fragment(false);
  stream_.control_callback([this](websocket::frame_type, beast::string_view) { heard(); });
  stream_.async_accept(request_, [self = shared_from_this(), peer](error_code error) {
    if (error) return self->drop("handshake: " + error.message());
    self->opened_ = true;
    self->heard();
    self->sessions_.handler.opened(self->id_, peer);
    self->read();
  });
}

void Session::send(std::string message, bool binary) {
  if (closing_) return;
  queue_.push_back({std::move(message), binary});
  if (!writing_) write();
}

void Session::close(unsigned code, const std::string& reason) {
  if (closing_) return;
  if (!opened_) return drop(reason);  // while the handshake is being written
  closing_ = true;
  close_reason_ = websocket::close_reason(static_cast<websocket::close_code>(code), reason);
  if (!writing_) send_close();
}

void Session::tick(Clock::time_point now) {
  if (!opened_) return;
  const NetworkOptions& options = sessions_.options;
  const std::size_t received = buffer_ ? buffer_->size() : 0;
  if (received != received_) heard();
  if (received_ == 0) message_began_ = now;  // none had begun at the last tick, or another one
  received_ = received;
  if (writing_ && now - write_began_ > options.stall) return drop("the peer reads too slowly");
  if (received > 0 && now - message_began_ > options.receive) return drop("the peer sends too slowly");
  if (pinged_ && now - *pinged_ > options.pong) return drop("no answer to a ping");
  if (pinging_ || pinged_ || closing_ || now - heard_ < options.ping) return;
  pinged_ = now;
  pinging_ = true;
  stream_.async_ping({}, [self = shared_from_this()](error_code) { self->pinging_ = false; });
}

void Session::drop(const std::string& why) {
  if (std::exchange(dropped_, true)) return;
  const auto self = shared_from_this();
  beast::get_lowest_layer(stream_).close();
  sessions_.open.erase(id_);
  if (opened_) sessions_.handler.closed(id_, why);
}

void Session::heard() {
  heard_ = Clock::now();
  pinged_.reset();
}

void Session::read() {
  reading_ = true;
  buffer_ = std::make_shared<beast::flat_buffer>();
  buffer_->reserve(last_size_);
  stream_.async_read(*buffer_, [self = shared_from_this(), buffer = buffer_](error_code error, std::size_t) {
    self->received(error, buffer);
  });
}

void Session::received(error_code error, const std::shared_ptr<beast::flat_buffer>& buffer) {
  reading_ = false;
  received_ = 0;
  buffer_.reset();
  if (dropped_) return;
  if (error) return drop(error == websocket::error::closed ? "closed by the peer" : error.message());
  heard();
  last_size_ = buffer->size();
  const auto bytes = buffer->cdata();
  if (!closing_)
    sessions_.handler.received(id_, {.owner = buffer,
                                     .bytes = {static_cast<const char*>(bytes.data()), bytes.size()},
                                     .binary = stream_.got_binary()});
  // While it closes, the close reads; beside a read of ours each would wait for the other where the peer breaks the
  // protocol.
  if (!dropped_ && !closing_ && queue_.size() < most_unread_replies) read();
}

void Session::write() {
  writing_ = true;
  write_began_ = Clock::now();
  stream_.binary(queue_.front().binary);
  const auto written = [self = shared_from_this()](error_code error, std::size_t) {
    self->writing_ = false;
    if (self->dropped_) return;
    if (error) return self->drop(error.message());
    self->queue_.pop_front();
    if (!self->queue_.empty()) return self->write();
    self->sessions_.handler.written(self->id_);
    if (self->closing_) return self->send_close();
    if (!self->reading_ && !self->dropped_) self->read();
  };
  stream_.async_write(boost::asio::buffer(queue_.front().message), written);
}

void Session::send_close() {
  stream_.async_close(close_reason_, [self = shared_from_this()](error_code) { self->drop("closed"); });
}

}  // namespace nervus::serve
