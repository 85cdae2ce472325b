// In place of server.cpp where the build has no Boost.
#include "nervus/server.h"

#include "core/check.h"

namespace nervus {

struct Server::Implementation {};

Server::Server(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

Server Server::load(const std::filesystem::path&, const ServeOptions&) {
  fail(
      ErrorKind::unsupported,
      "this build has no policy server: install Boost's headers (Debian: libboost-dev) and build with NERVUS_SERVE=ON");
}

int Server::port() const { return 0; }
const PolicyInfo& Server::info() const { fail(ErrorKind::internal, "there is no server"); }
void Server::run() {}
void Server::stop() {}

}  // namespace nervus
