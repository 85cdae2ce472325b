// One websocket session on the network's thread. Included only where Boost is compiled: network.cpp and websocket.cpp.
#pragma once

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "serve/network.h"

namespace nervus::serve {

class Session;

// What sessions share.
struct Sessions {
  const NetworkOptions& options;
  NetworkHandler& handler;
  std::map<std::uint64_t, std::shared_ptr<Session>> open = {};
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  using Stream = boost::beast::websocket::stream<boost::beast::tcp_stream>;
  using Request = boost::beast::http::request<boost::beast::http::empty_body>;

  // `seat` is let go with the session.
  Session(Sessions& sessions, Stream stream, std::shared_ptr<void> seat, std::uint64_t id);

  void open(Request request, const std::string& peer);
  void send(std::string message, bool binary);
  // Behind what was sent.
  void close(unsigned code, const std::string& reason);
  // Now and then: pings a silent peer, drops one that is too slow or gone.
  void tick(Clock::time_point now);

 private:
  struct Outgoing {
    std::string message;
    bool binary;
  };

  void heard();
  void read();
  void received(boost::system::error_code error, const std::shared_ptr<boost::beast::flat_buffer>& buffer);
  void write();
  void send_close();
  void drop(const std::string& why);

  Sessions& sessions_;
  std::shared_ptr<void> seat_;
  Stream stream_;
  const std::uint64_t id_;
  Request request_;
  std::shared_ptr<boost::beast::flat_buffer> buffer_;  // of the message that is being read
  std::deque<Outgoing> queue_;
  boost::beast::websocket::close_reason close_reason_;
  std::size_t received_ = 0, last_size_ = 0;
  Clock::time_point heard_, message_began_, write_began_;
  std::optional<Clock::time_point> pinged_;
  bool pinging_ = false;  // a ping is being written: it waits for the message before it, and Beast has room for one
  bool opened_ = false, reading_ = false, writing_ = false, closing_ = false, dropped_ = false;
};

}  // namespace nervus::serve
