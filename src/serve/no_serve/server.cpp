// In place of server.cpp where the build has no Boost.
#include "nervus/server.h"

#include "core/check.h"
#include "nervus/record.h"

namespace nervus {

namespace {

[[noreturn]] void refuse() {
  fail(
      ErrorKind::unsupported,
      "this build has no policy server: install Boost's headers (Debian: libboost-dev) and build with NERVUS_SERVE=ON");
}

}  // namespace

struct Server::Implementation {};

Server::Server(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

Server Server::load(const std::filesystem::path&, const ServeOptions&) { refuse(); }

int Server::port() const { return 0; }
const PolicyInfo& Server::info() const { fail(ErrorKind::internal, "there is no server"); }
void Server::reload() {}
void Server::run() {}
void Server::stop() {}

RecordInfo read_record_info(const std::filesystem::path&) { refuse(); }
ReplayReport replay(const std::filesystem::path&, const std::filesystem::path&, const LoadOptions&) { refuse(); }

}  // namespace nervus
