#include "client/connection.h"

#include <boost/asio/post.hpp>
#include <random>
#include <thread>

#include "client/link.h"

namespace nervus::client {

class Connection::Implementation {
 public:
  Implementation(const ClientOptions& options, ConnectionHandler& handler)
      : network_{.options = options,
                 .address = parse_address(options),
                 .handler = handler,
                 .backoff = {options.backoff_seconds, options.most_backoff_seconds, std::random_device()()}} {
    if (network_.address.tls) make_link_ = tls_links(network_);
    else make_link_ = [this] { return std::make_shared<WebsocketLink<beast::tcp_stream>>(network_); };
    network_.ended = [this](const Link* link, const std::string& why, bool was_open) { ended(link, why, was_open); };
  }

  void connect();
  void ended(const Link* link, const std::string& why, bool was_open);

  Network network_;
  MakeLink make_link_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{network_.context.get_executor()};
  asio::steady_timer retry_{network_.context};
  std::shared_ptr<Link> link_;  // the one attempt or connection at a time
  std::thread thread_;
};

void Connection::Implementation::connect() {
  link_ = make_link_();
  link_->connect();
}

void Connection::Implementation::ended(const Link* link, const std::string& why, bool was_open) {
  if (link_.get() != link) return;
  network_.handler.closed(why, was_open);
  retry_.expires_after(from_seconds(network_.backoff.next_seconds()));
  retry_.async_wait([this](error_code error) {
    if (!error) connect();
  });
}

Connection::Connection(const ClientOptions& options, ConnectionHandler& handler)
    : implementation_(std::make_unique<Implementation>(options, handler)) {
  implementation_->connect();
  implementation_->thread_ = std::thread([this] { implementation_->network_.context.run(); });
}

Connection::~Connection() {
  implementation_->network_.context.stop();
  implementation_->thread_.join();
}

void Connection::send(std::string message) {
  asio::post(implementation_->network_.context,
             [this, message = std::move(message)]() mutable { implementation_->link_->send(std::move(message)); });
}

void Connection::restart(const std::string& why) {
  asio::post(implementation_->network_.context, [this, why] { implementation_->link_->end(why); });
}

}  // namespace nervus::client
