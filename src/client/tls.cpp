// Links over TLS, by OpenSSL: the server's certificate must be of its host and of an authority that is trusted.
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <boost/asio/ssl.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <filesystem>

#include "client/link.h"

namespace nervus::client {
namespace {

namespace ssl = asio::ssl;

// Where systems keep the authorities that they trust, beside the place that OpenSSL was built with.
constexpr std::array system_stores = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                      "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

void trust(ssl::context& context, const std::filesystem::path& ca_file) {
  error_code error;
  if (!ca_file.empty()) {
    context.load_verify_file(ca_file.string(), error);
    if (error)
      fail(ErrorKind::io, "ca_file: ", ca_file.string(), ": expected certificates in PEM's format: ", error.message());
    return;
  }
  context.set_default_verify_paths(error);
  for (const char* store : system_stores)
    if (std::filesystem::exists(store)) return static_cast<void>(context.load_verify_file(store, error));
}

class TlsLink final : public WebsocketLink<ssl::stream<beast::tcp_stream>> {
 public:
  TlsLink(Network& network, std::shared_ptr<ssl::context> context)
      : WebsocketLink(network, *context), context_(std::move(context)) {}

 private:
  void secure() override {
    auto& layer = stream_.next_layer();
    SSL* handle = layer.native_handle();
    const std::string& host = network_.address.host;
    X509_VERIFY_PARAM* expected = SSL_get0_param(handle);
    // An address is no name: it is not told to the server, and certificates have their own field for it.
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) != 1) {
      X509_VERIFY_PARAM_set_hostflags(expected,
                                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
      const bool set = X509_VERIFY_PARAM_set1_host(expected, host.c_str(), host.size()) == 1 &&
                       SSL_set_tlsext_host_name(handle, host.c_str()) == 1;
      if (!set) return end("TLS: '" + host + "' is no name of a host");
    }
    layer.async_handshake(ssl::stream_base::client,
                          [self = std::static_pointer_cast<TlsLink>(shared_from_this())](error_code error) {
                            if (error) return self->end(self->why(error));
                            self->shake_hands();
                          });
  }

  std::string why(error_code error) {
    const long verified = SSL_get_verify_result(stream_.next_layer().native_handle());
    if (verified == X509_V_OK) return "no TLS: " + error.message();
    return concat("its certificate is not accepted: ", X509_verify_cert_error_string(verified),
                  ": name the certificate of its authority (ca_file), and the host as the certificate does");
  }

  std::shared_ptr<ssl::context> context_;
};

}  // namespace

MakeLink tls_links(Network& network) {
  const auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  context->set_verify_mode(ssl::verify_peer);
  trust(*context, network.options.ca_file);
  return [&network, context] { return std::make_shared<TlsLink>(network, context); };
}

}  // namespace nervus::client
