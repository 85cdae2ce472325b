#include "serve/replica.h"

#include <algorithm>

#include "core/message.h"

namespace nervus::serve {
namespace {

class PolicyReplica final : public Replica {
 public:
  explicit PolicyReplica(Policy policy) : policy_(std::move(policy)) {}
  const PolicyInfo& info() const override { return policy_.info(); }
  ActionChunk infer(const Observation& observation, const InferOptions& options) override {
    return policy_.infer(observation, options);
  }

 private:
  Policy policy_;
};

// "joint 'left_waist'", "joint 3"
std::string joint_name(const GuardReport& report, const PolicyInfo& info) {
  const auto joint = static_cast<std::size_t>(report.joint);
  return joint < info.joints.size() ? "joint '" + info.joints[joint] + "'" : concat("joint ", report.joint);
}

Refusal refusal_of(const GuardReport& report, Verdict verdict, const PolicyInfo& info) {
  const std::string of_step = report.step < 0 ? "the state" : concat("step ", report.step);
  const std::string place = report.joint < 0 ? of_step : of_step + ", " + joint_name(report, info);
  Refusal refusal{.code = "guard_tripped", .verdict = verdict};
  switch (report.tripped) {
    case Trip::not_finite:
      refusal.code = "not_finite";
      refusal.message = place + ": not a finite number";
      refusal.hint = report.step < 0 ? "mend the sensor" : "check the checkpoint and its statistics";
      break;
    case Trip::shape:
      refusal.message = concat(place, ": expected ", info.state_dimensions, " values of state and ",
                               info.action_dimensions, " of action");
      refusal.hint = "send the state of the robot that is served";
      break;
    case Trip::range:
      refusal.message = place + ": beyond the robot file's state_min and state_max";
      refusal.hint = "move the robot back into its range";
      break;
    case Trip::age:
      refusal.message = "the observation is older than the robot file's observation_age_ms";
      refusal.hint = "send a newer observation";
      break;
    case Trip::jump:
      refusal.message = place + ": further from the state than the robot file's max_jump";
      refusal.hint = "check that state, statistics and robot belong together";
      break;
    default:
      refusal.message = place + ": a cut to the " + name_of(report.tripped) + " beyond the robot file's max_excess";
      refusal.hint = "check that state, statistics and robot belong together";
  }
  return refusal;
}

void count_trip(const GuardReport& report, Metrics& metrics) {
  metrics.add("nervus_guard_tripped_total", concat("reason=\"", name_of(report.tripped), "\""));
}

Refusal internal_error() {
  return {.code = "internal", .message = "the call failed", .hint = "the server's log says more"};
}

// The words of what a client got wrong are its own; others could name the server's files.
Refusal refusal_of(const Error& error, Verdict verdict) {
  if (error.kind() == ErrorKind::input)
    return {.code = "bad_request", .message = error.what(), .hint = "mend the request"};
  if (error.kind() == ErrorKind::numeric)
    return {.code = "not_finite",
            .message = "the policy made a value that is not a finite number",
            .hint = "check the checkpoint and its statistics",
            .verdict = verdict};
  if (error.kind() == ErrorKind::device)
    return {.code = "device_failed", .message = "the device failed", .hint = "the server ends; connect again later"};
  return internal_error();
}

Answer compute(Replica& replica, const Guard& guard, const Job& job, Metrics& metrics) {
  const Clock::time_point started = Clock::now();
  const double queue_ms = milliseconds(started - job.arrived);
  metrics.observe("nervus_queue_seconds", "", queue_ms / 1e3);
  const Request& request = job.request;
  const Verdict verdict = guard.limits().verdict;
  const auto trip = [&](const GuardReport& report) {
    count_trip(report, metrics);
    return Answer{.refusal = refusal_of(report, verdict, replica.info())};
  };
  GuardReport report = guard.check_observation(request.state, request.age_ms + queue_ms);
  if (!report.passed()) return trip(report);

  const Observation observation = observation_of(request);
  ActionChunk chunk = replica.infer(observation, {.steps = request.steps, .seed = request.seed});
  for (const auto& [stage, took] : chunk.timing)
    metrics.observe("nervus_stage_seconds", concat("stage=\"", stage, "\""), took / 1e3);
  metrics.observe("nervus_batch_size", "", 1);

  const auto dimensions = static_cast<std::size_t>(std::max<std::int64_t>(chunk.dimensions, 0));
  report = guard.check_actions(request.state, chunk.values, dimensions);
  metrics.add("nervus_guard_clamped_total", "", static_cast<double>(report.clamped));
  if (!report.passed()) return trip(report);
  const ReplyTimes times{
      .infer_ms = milliseconds(Clock::now() - started), .queue_ms = queue_ms, .prev_total_ms = job.prev_total_ms};
  Answer answer;
  answer.reply = write_reply(request, chunk, report, times);
  answer.timing = chunk.timing;
  answer.chunk = std::move(chunk);
  return answer;
}

}  // namespace

std::unique_ptr<Replica> make_replica(Policy policy) { return std::make_unique<PolicyReplica>(std::move(policy)); }

void warm(Replica& replica) {
  const PolicyInfo& info = replica.info();
  Observation observation;
  for (const std::string& camera : info.cameras)
    observation.images[camera] = {.width = 224, .height = 224, .rgb = std::vector<std::uint8_t>(224 * 224 * 3)};
  observation.state.assign(static_cast<std::size_t>(info.state_dimensions), 0.0f);
  observation.prompt = "warm up";
  for (const int steps : info.steps) {
    const ActionChunk chunk = replica.infer(observation, {.steps = steps});
    if (!Guard::check_finite(chunk.values, static_cast<std::size_t>(chunk.dimensions)).passed())
      fail(ErrorKind::numeric, "the first call: expected finite actions: check the checkpoint and its statistics");
  }
}

Answer answer(Replica& replica, const Guard& guard, const Job& job, Metrics& metrics) noexcept {
  try {
    if (Clock::now() >= job.deadline) {
      return {.refusal = Refusal{.code = "deadline_exceeded",
                                 .message = "the request waited beyond its deadline",
                                 .hint = "send fewer requests, or allow more deadline_ms"}};
    }
    return compute(replica, guard, job, metrics);
  } catch (const Error& error) {
    Answer answer{.refusal = refusal_of(error, guard.limits().verdict)};
    if (error.kind() == ErrorKind::device) answer.device_error = error.what();
    if (error.kind() == ErrorKind::numeric) count_trip({.tripped = Trip::not_finite}, metrics);
    answer.log = error.what();
    return answer;
  } catch (const std::exception& error) {
    Answer answer{.refusal = internal_error()};
    answer.log = error.what();
    return answer;
  }
}

}  // namespace nervus::serve
