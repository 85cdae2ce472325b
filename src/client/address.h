// Where a client connects to.
#pragma once

#include <string>

#include "nervus/client.h"

namespace nervus::client {

struct Address {
  bool tls = false;
  std::string host;  // without a scheme
  int port = 0;

  // "robots.example:8000", "[::1]:8000"
  std::string authority() const;
  // The same, as errors name it: with wss:// in front where it is.
  std::string text() const { return (tls ? "wss://" : "") + authority(); }
};

// Of options.host and options.port. Throws Error(usage).
Address parse_address(const ClientOptions& options);

}  // namespace nervus::client
