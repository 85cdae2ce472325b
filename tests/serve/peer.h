// A peer of the server as small as can be: bytes over TCP, so that tests can send what no library would.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace nervus::test {

struct Frame {
  int opcode = -1;  // 1 text, 2 binary, 8 close, 9 ping, 10 pong; -1: the connection ended; -2: nothing came
  std::string payload;

  int close_code() const {
    if (opcode != 8 || payload.size() < 2) return 0;
    return static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
  }
};

// Calls a function of the system again when a signal (a fuzzer's clock, for one) came between.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class Peer {
 public:
  explicit Peer(int port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    const int yes = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 && !connected_meanwhile())
      throw std::runtime_error(std::string("refused: ") + std::strerror(errno));
  }
  ~Peer() { close(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  // With a reset in place of an orderly end.
  void abort() {
    const linger now{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close();
  }

  // Nothing more will be sent; what comes can still be read.
  void finish() { ::shutdown(socket_, SHUT_WR); }

  void send(const std::string& bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t sent =
          uninterrupted([&] { return ::send(socket_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL); });
      if (sent <= 0) return;
      at += static_cast<std::size_t>(sent);
    }
  }

  // Reads until the buffer has so many bytes; false if the connection ends or stays silent for so long.
  bool fill(std::size_t size, int patience_ms = 10000) {
    while (buffer_.size() < size) {
      pollfd waiting{socket_, POLLIN, 0};
      if (uninterrupted([&] { return ::poll(&waiting, 1, patience_ms); }) <= 0) return false;
      char bytes[65536];
      const ssize_t got = uninterrupted([&] { return ::recv(socket_, bytes, sizeof(bytes), 0); });
      ended_ = got <= 0;
      if (ended_) return false;
      buffer_.append(bytes, static_cast<std::size_t>(got));
    }
    return true;
  }

  std::string take(std::size_t size) {
    const std::string taken = buffer_.substr(0, size);
    buffer_.erase(0, taken.size());
    return taken;
  }

  // All until the server closes.
  std::string rest() {
    while (fill(buffer_.size() + 1)) {
    }
    return take(buffer_.size());
  }

  // One HTTP response with its body; what came of it where the server closes before its end; "silent" where it neither
  // says more nor closes.
  std::string http(const std::string& request) {
    send(request);
    std::size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill(buffer_.size() + 1)) return ended_ ? take(buffer_.size()) : "silent";
    const std::size_t length = buffer_.find("Content-Length: ");
    const std::size_t body = length < end ? std::stoul(buffer_.substr(length + 16)) : 0;
    fill(end + 4 + body);
    return take(end + 4 + body);
  }

  // The server's answer to a handshake with these further headers: "HTTP/1.1 101 ...".
  std::string handshake(const std::string& headers = "") {
    return http(
        "GET / HTTP/1.1\r\nHost: robot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
        headers + "\r\n");
  }

  // A frame as a client sends it; `first` is its first byte: 0x80 for the last of a message, and the opcode.
  static std::string frame(int first, const std::string& payload, bool masked = true) {
    std::string bytes(1, static_cast<char>(first));
    const int mask = masked ? 0x80 : 0;
    if (payload.size() < 126) {
      bytes += static_cast<char>(mask | static_cast<int>(payload.size()));
    } else {
      const int length = payload.size() < 65536 ? 2 : 8;
      bytes += static_cast<char>(mask | (length == 2 ? 126 : 127));
      for (int i = length - 1; i >= 0; --i) bytes += static_cast<char>(payload.size() >> 8 * i & 255);
    }
    if (masked) bytes += std::string(4, '\0');  // a mask that changes nothing
    return bytes + payload;
  }
  void send_binary(const std::string& payload) { send(frame(0x82, payload)); }

  Frame receive(int patience_ms = 10000) {
    if (!fill(2, patience_ms)) return {.opcode = ended_ ? -1 : -2};
    const int opcode = buffer_[0] & 15;
    std::size_t size = static_cast<unsigned char>(buffer_[1]), header = 2;
    if (size >= 126) {
      header = size == 126 ? 4 : 10;
      if (!fill(header)) return {};
      size = 0;
      for (std::size_t i = 2; i < header; ++i) size = size << 8 | static_cast<unsigned char>(buffer_[i]);
    }
    if (!fill(header + size)) return {};
    take(header);
    return {opcode, take(size)};
  }

 private:
  // A connection goes on being made behind the signal that came between.
  bool connected_meanwhile() {
    pollfd waiting{socket_, POLLOUT, 0};
    socklen_t size = sizeof(errno);
    return errno == EINTR && uninterrupted([&] { return ::poll(&waiting, 1, 10000); }) == 1 &&
           ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &errno, &size) == 0 && errno == 0;
  }

  int socket_;
  bool ended_ = false;
  std::string buffer_;
};

}  // namespace nervus::test
