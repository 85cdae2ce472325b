// A websocket that is opened again whenever it ends, on a thread of its own. Knows nothing of what it carries.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "nervus/client.h"

namespace nervus::client {

// Called on the connection's thread.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  // The first message, with which a server opens. May throw: then the connection is ended.
  virtual void opened(std::string_view metadata) = 0;
  // May throw: then the connection is ended.
  virtual void received(std::string_view message, bool binary) = 0;
  // An attempt failed, or (`was_open`) the connection ended. Must not throw.
  virtual void closed(const std::string& why, bool was_open) = 0;
};

class Connection {
 public:
  // The handler must outlive it.
  Connection(const ClientOptions& options, ConnectionHandler& handler);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // From any thread. Binary; lost if the connection is not open.
  void send(std::string message);
  // From any thread: ends the connection, to open another.
  void restart(const std::string& why);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace nervus::client
