// Options of a server that are wrong are named before anything is loaded.
#include <doctest/doctest.h>

#include <fstream>
#include <limits>

#include "checkpoint/support.h"
#include "nervus/server.h"

using namespace nervus;

namespace {

// What Server::load says of these options, of a checkpoint that is not there: with good options, that.
std::string refusal(const std::function<void(ServeOptions&)>& change) {
  ServeOptions options;
  change(options);
  try {
    Server::load("no such checkpoint", options);
  } catch (const Error& error) {
    return (error.kind() == ErrorKind::usage ? "usage: " : "") + std::string(error.what());
  }
  return "none";
}

}  // namespace

TEST_CASE("times of a server that no clock can hold are refused") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(refusal([](ServeOptions&) {}).starts_with("no such checkpoint: "));
  for (const double wrong : {0.0, -1.0, 1.1e9, infinity, std::numeric_limits<double>::quiet_NaN()})
    CHECK(refusal([&](ServeOptions& options) {
            options.deadline_ms = wrong;
          }).starts_with("usage: deadline_ms: expected a number above 0, at most 1e9, found "));
  for (const double wrong : {-1.0, 3601.0, infinity, std::numeric_limits<double>::quiet_NaN()})
    CHECK(refusal([&](ServeOptions& options) {
            options.drain_seconds = wrong;
          }).starts_with("usage: drain_seconds: expected a number from 0 to 3600, found "));
  for (const double right : {0.001, 1e9})
    CHECK(refusal([&](ServeOptions& options) { options.deadline_ms = right; }).starts_with("no such checkpoint: "));
}

TEST_CASE("a key that no client could send is refused") {
  const test::TemporaryDirectory directory;
  const auto with_key = [&](const std::string& text) {
    std::ofstream(directory / "key", std::ios::binary) << text;
    return refusal([&](ServeOptions& options) { options.api_key_file = directory / "key"; });
  };
  for (const std::string& right : {std::string("8 bytes!"), std::string("8 bytes!\nmore"), std::string("8 bytes!\r\n"),
                                   std::string(4096, 'k'), std::string("8 b\xc3\xa9tes")})
    CHECK(with_key(right).starts_with("no such checkpoint: "));
  CHECK(with_key("7 bytes").ends_with("expected a key of 8 to 4096 bytes in the first line, found 7"));
  CHECK(with_key("").ends_with("found 0"));
  CHECK(with_key("\n8 bytes!").ends_with("found 0"));
  CHECK(with_key(std::string(4097, 'k')).ends_with("found more"));
  for (const std::string& wrong : {std::string(" 8 bytes"), std::string("8 bytes "), std::string("8 by\ttes!"),
                                   std::string("8 bytes\x7f"), std::string("8 byte\0s", 9)})
    CHECK(with_key(wrong).ends_with("expected a key without spaces around it and control characters in it"));
  CHECK(refusal([&](ServeOptions& options) {
          options.api_key_file = directory / "none";
        }).ends_with("none: cannot be read"));
}

TEST_CASE("a host that other machines reach takes a key, also where its name begins like loopback's") {
  const auto at = [](const std::string& host) { return refusal([&](ServeOptions& options) { options.host = host; }); };
  for (const char* own : {"localhost", "127.0.0.1", "127.1.2.3", "::1"})
    CHECK(at(own).starts_with("no such checkpoint: "));
  for (const char* other : {"0.0.0.0", "::", "robot", "127.robot.example", "localhost.example"})
    CHECK(at(other).find("is reached from other machines") != std::string::npos);
}
