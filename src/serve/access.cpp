#include "serve/access.h"

#include <algorithm>
#include <boost/archive/iterators/binary_from_base64.hpp>
#include <boost/archive/iterators/dataflow_exception.hpp>
#include <boost/archive/iterators/transform_width.hpp>
#include <optional>

namespace nervus::serve {
namespace {

constexpr std::size_t most_base64_bytes = 8192;

// Takes as long for every key of the same length.
bool same_key(std::string_view given, std::string_view key) {
  unsigned difference = given.size() != key.size();
  for (std::size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<unsigned char>(given[i] ^ key[i % key.size()]);
  return difference == 0;
}

char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter; }

// What follows the name of a scheme, which has no case (RFC 9110), and the spaces behind it.
std::optional<std::string_view> behind(std::string_view scheme, std::string_view header) {
  if (header.size() <= scheme.size() || header[scheme.size()] != ' ') return std::nullopt;
  const auto same = [](char a, char b) { return lower(a) == lower(b); };
  if (!std::equal(scheme.begin(), scheme.end(), header.begin(), same)) return std::nullopt;
  return header.substr(std::min(header.find_first_not_of(' ', scheme.size()), header.size()));
}

// None where it is not base64 with its padding.
std::optional<std::string> decode_base64(std::string_view text) {
  namespace iterators = boost::archive::iterators;
  using Bytes = iterators::transform_width<iterators::binary_from_base64<const char*>, 8, 6>;
  if (text.empty() || text.size() % 4 != 0 || text.size() > most_base64_bytes) return std::nullopt;
  // The iterators know no padding: it stands for zeros, whose bytes are dropped again.
  std::string whole(text);
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  if (whole.find('=') < whole.size() - padding) return std::nullopt;
  std::fill(whole.end() - static_cast<std::ptrdiff_t>(padding), whole.end(), 'A');
  try {
    std::string bytes(Bytes(whole.data()), Bytes(whole.data() + whole.size()));
    bytes.resize(bytes.size() - padding);
    return bytes;
  } catch (const iterators::dataflow_exception&) {
    return std::nullopt;
  }
}

}  // namespace

bool carries_key(std::string_view authorization, std::string_view key) {
  for (const std::string_view scheme : {"Api-Key", "Bearer"})
    if (const auto given = behind(scheme, authorization)) return same_key(*given, key);
  const auto basic = behind("Basic", authorization);
  const std::optional<std::string> credentials = basic ? decode_base64(*basic) : std::nullopt;
  if (!credentials) return false;
  const std::size_t colon = credentials->find(':');
  return colon != std::string::npos && same_key(std::string_view(*credentials).substr(colon + 1), key);
}

bool is_loopback(std::string_view address) {
  if (address == "localhost" || address == "::1") return true;
  return address.starts_with("127.") && address.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool names_loopback(std::string_view host) {
  if (is_loopback(host)) return true;
  const std::size_t bracket = host.find(']');
  const std::string_view name = host.substr(0, host.find(':', bracket == std::string_view::npos ? 0 : bracket));
  return name == "[::1]" || is_loopback(name);
}

bool is_allowed_origin(std::string_view origin, const std::vector<std::string>& allowed) {
  return origin.empty() || std::find(allowed.begin(), allowed.end(), origin) != allowed.end();
}

}  // namespace nervus::serve
