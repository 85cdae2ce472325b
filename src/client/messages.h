// What a client sends to a policy server and hears from it, in openpi's dialect.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "nervus/client.h"

namespace nervus::client {

// What a request carries beside the observation.
struct RequestFields {
  std::string request_id;
  double age_ms = 0;       // of the observation
  double deadline_ms = 0;  // for the reply, from the request's arrival
};

std::string write_request(const Observation& observation, const ClientOptions& options, const RequestFields& fields);

// The first message of a connection. A server that says nothing of itself leaves the fields empty. Throws Error(input).
ServerInfo read_metadata(std::string_view message);

struct Reply {
  std::optional<std::string> request_id;
  ClientReply reply;
};
// A binary frame. Throws Error(input) that names the field; actions that are not finite are read as they are.
Reply read_reply(std::string_view message, const ServerInfo& server);

struct Refusal {
  std::optional<std::string> request_id;
  Refused error;
};
// A text frame: JSON of nervus serve; of other servers, whose words are a traceback, the last line.
Refusal read_refusal(std::string_view message);

}  // namespace nervus::client
