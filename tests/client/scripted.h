// A websocket server that does what a test says, frame by frame; not one of ours.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <functional>
#include <string>
#include <thread>

#include "wire/msgpack.h"
#include "wire/numpy.h"

namespace nervus::test {

class ScriptedServer {
 public:
  using Stream = boost::beast::websocket::stream<boost::asio::ip::tcp::socket>;
  // Called for each connection, after its handshake; `number` counts them from 1. The connection is cut behind it.
  using Script = std::function<void(Stream& stream, int number)>;

  // With `declines`, it answers every request for a websocket with that, byte by byte.
  explicit ScriptedServer(Script script, std::string declines = "")
      : acceptor_(context_, {boost::asio::ip::address_v4::loopback(), 0}),
        script_(std::move(script)),
        declines_(std::move(declines)) {
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedServer() {
    ending_ = true;
    boost::asio::io_context context;
    boost::asio::ip::tcp::socket last(context);
    boost::system::error_code ignored;
    last.connect({boost::asio::ip::address_v4::loopback(), static_cast<unsigned short>(port())}, ignored);
    thread_.join();
  }
  int port() const { return acceptor_.local_endpoint().port(); }

  static void send(Stream& stream, const std::string& message, bool binary = true) {
    stream.binary(binary);
    stream.write(boost::asio::buffer(message));
  }
  // The next message; throws where the connection ends.
  static std::string receive(Stream& stream) {
    boost::beast::flat_buffer buffer;
    stream.read(buffer);
    return boost::beast::buffers_to_string(buffer.data());
  }
  // An openpi server's: no ids, metadata of its own.
  static std::string metadata() { return wire::MsgpackWriter().map(0).take(); }
  static std::string actions(const std::vector<float>& values, const Shape& shape) {
    wire::MsgpackWriter writer;
    writer.map(1).text("actions");
    wire::write_array(writer, values, shape);
    return writer.take();
  }

 private:
  void serve() {
    for (int number = 1;; ++number) {
      boost::asio::ip::tcp::socket socket(context_);
      boost::system::error_code error;
      acceptor_.accept(socket, error);
      if (ending_ || error) return;
      try {
        if (!declines_.empty()) {
          std::string request;
          boost::asio::read_until(socket, boost::asio::dynamic_buffer(request), "\r\n\r\n");
          boost::asio::write(socket, boost::asio::buffer(declines_));
          continue;
        }
        Stream stream(std::move(socket));
        stream.accept();
        script_(stream, number);
      } catch (const boost::system::system_error&) {
        // The peer has gone.
      }
    }
  }

  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  Script script_;
  const std::string declines_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace nervus::test
