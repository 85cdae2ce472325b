// In place of client.cpp where the build has no Boost.
#include "nervus/client.h"

#include "core/check.h"

namespace nervus {

struct Client::Implementation {};

Client::Client(ClientOptions) {
  fail(ErrorKind::unsupported,
       "this build has no client: install Boost's headers (Debian: libboost-dev) and build with NERVUS_SERVE=ON");
}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

bool Client::wait_connected(double) { return false; }
ServerInfo Client::server() const { return {}; }
ClientStatus Client::status() const { return {}; }
bool Client::wants_observation() { return false; }
bool Client::observe(const Observation&, Instant) { return false; }
Motion Client::motion(Instant) { return {}; }
void Client::reset() {}
ClientReply Client::infer(const Observation&, double) { return {}; }

}  // namespace nervus
