// The two dialects of the wire: what their requests and replies are called. Both are maps of msgpack in binary frames;
// which one a request speaks is seen from its keys.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nervus/observation.h"
#include "nervus/server.h"
#include "serve/guard.h"
#include "wire/msgpack.h"
#include "wire/numpy.h"

namespace nervus::serve {

using namespace wire;  // whose values requests and replies are

// An error that a client is told: one text frame of JSON. `code` is stable, `hint` says how to mend it.
struct Refusal {
  std::string code;
  std::string message;
  std::string hint;
  std::optional<double> retry_after_ms = {};
  std::optional<Verdict> verdict = {};
};

// What requests are read against.
struct RequestRules {
  Dialect dialect = Dialect::automatic;
  std::vector<std::string> cameras;                 // of the policy
  std::map<std::string, std::string> camera_names;  // key of a request -> camera
  std::string robot;                                // that is served; empty: none
  std::string prompt;                               // where a request has none; empty: a request needs one
  std::uint64_t seed = 0;                           // where a request has none
  std::vector<int> steps;                           // that the policy knows; the first where a request has none
};

// A camera's frame as it lies in the message.
struct Frame {
  std::string camera;
  ArrayView pixels;  // of u8, or of floats from 0 to 1
  int width = 0, height = 0;
  bool channels_first = false;
};

// A request; its frames lie in the message, which must outlive it.
struct Request {
  Dialect dialect = Dialect::openpi;
  bool reset = false;  // the rest is empty
  std::vector<Frame> frames;
  std::vector<float> state;
  std::string prompt;
  std::uint64_t seed = 0;
  int steps = 0;
  double age_ms = 0;  // of the observation when it was sent
  std::optional<double> deadline_ms;
  std::optional<std::string> request_id;  // sent back with the reply
};

// The request_id that a refusal is to carry, also of a request that is otherwise wrong.
std::optional<std::string> read_request_id(const MsgpackDocument& document);

// Throws Error(input) that names the field.
Request read_request(const MsgpackDocument& document, const RequestRules& rules);

// Copies the frames out of the message. Throws Error(input) for floats that are no pixels.
Observation observation_of(const Request& request);

// Of one call, for the reply.
struct ReplyTimes {
  double infer_ms = 0;                  // from the call's start to the guard's end
  double queue_ms = 0;                  // waited before it
  std::optional<double> prev_total_ms;  // from the last request's arrival to its reply's last byte
};

// Messages to the client.
std::string write_metadata(const PolicyInfo& info, const RequestRules& rules);
std::string write_reply(const Request& request, const ActionChunk& chunk, const GuardReport& guard,
                        const ReplyTimes& times);
std::string write_reset_reply();
std::string write_refusal(const Refusal& refusal, const std::optional<std::string>& request_id = {});

}  // namespace nervus::serve
