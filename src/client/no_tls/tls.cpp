// In place of tls.cpp where the build has no OpenSSL.
#include "client/link.h"

namespace nervus::client {

MakeLink tls_links(Network& network) {
  fail(ErrorKind::unsupported, "host '", network.options.host,
       "': this build has no encryption: install OpenSSL (Debian: libssl-dev) and build with NERVUS_TLS=ON, or connect "
       "to a tunnel on this machine");
}

}  // namespace nervus::client
