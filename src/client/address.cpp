#include "client/address.h"

#include "core/message.h"

namespace nervus::client {

std::string Address::authority() const {
  const bool bare = host.find(':') == std::string::npos;
  return (bare ? host : "[" + host + "]") + ":" + std::to_string(port);
}

Address parse_address(const ClientOptions& options) {
  Address address{.host = options.host, .port = options.port};
  address.tls = address.host.starts_with("wss://");
  if (address.tls || address.host.starts_with("ws://")) address.host.erase(0, address.host.find("//") + 2);
  if (address.host.empty() || address.host.find('/') != std::string::npos)
    fail(ErrorKind::usage,
         "host: expected a name or an address, behind wss:// where the connection is to be encrypted, found '",
         options.host, "'; port and path have options of their own");
  if (options.port < 1 || options.port > 65535)
    fail(ErrorKind::usage, "port: expected a number from 1 to 65535, found ", options.port);
  if (!options.ca_file.empty() && !address.tls)
    fail(ErrorKind::usage, "ca_file: expected a host behind wss:// to go with it, found '", options.host, "'");
  return address;
}

}  // namespace nervus::client
