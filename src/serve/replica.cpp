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
  std::vector<ActionChunk> infer_batch(std::span<const Observation> observations,
                                       std::span<const InferOptions> options) override {
    return policy_.infer_batch(observations, options);
  }
  void check_device() override { policy_.check_device(); }

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
      refusal.message = place + ": cut to the " + name_of(report.tripped) + " by more than the robot file's max_excess";
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
  if (error.kind() == ErrorKind::device) return device_failed();
  return internal_error();
}

// Runs `work`; what it throws becomes the answer's refusal. True if that is a value that is not finite.
template <typename Work>
bool guarded(Answer& answer, Verdict verdict, Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    answer.refusal = refusal_of(error, verdict);
    if (error.kind() == ErrorKind::device) answer.device_error = error.what();
    answer.log = error.what();
    return error.kind() == ErrorKind::numeric;
  } catch (const std::exception& error) {
    answer.refusal = internal_error();
    answer.log = error.what();
  }
  return false;
}

// One call over jobs: prepare each, compute all, finish each.
class Call {
 public:
  Call(Replica& replica, const Guard& guard, std::span<const Job> jobs, Metrics& metrics)
      : replica_(replica), guard_(guard), jobs_(jobs), metrics_(metrics), answers_(jobs.size()) {}

  std::vector<Answer> run() {
    for (std::size_t i = 0; i < jobs_.size(); ++i) attempt(i, [&] { prepare(i); });
    if (live_.size() > 1 && compute_together()) return std::move(answers_);
    const Answer* lost = nullptr;  // of the job whose call lost the device
    for (std::size_t k = 0; k < live_.size(); ++k) {
      Answer& answer = answers_[live_[k]];
      if (lost) answer = *lost;
      else attempt(live_[k], [&] { compute_alone(k); });
      if (answer.device_error) lost = &answer;
    }
    return std::move(answers_);
  }

 private:
  Verdict verdict() const { return guard_.limits().verdict; }

  template <typename Work>
  void attempt(std::size_t i, Work&& work) {
    if (guarded(answers_[i], verdict(), work)) count_trip({.tripped = Trip::not_finite}, metrics_);
  }

  void refuse(std::size_t i, const GuardReport& report) {
    count_trip(report, metrics_);
    answers_[i].refusal = refusal_of(report, verdict(), replica_.info());
  }

  // Whether a job may be computed now; refused where its deadline has passed or the guard does.
  bool may_run(std::size_t i, Clock::time_point now) {
    const Job& job = jobs_[i];
    if (now >= job.deadline) {
      answers_[i].refusal = Refusal{.code = "deadline_exceeded",
                                    .message = "the request waited beyond its deadline",
                                    .hint = "send fewer requests, or allow more deadline_ms"};
      return false;
    }
    const double queue_ms = milliseconds(now - job.arrived);
    const GuardReport report = guard_.check_observation(job.request.state, job.request.age_ms + queue_ms);
    if (!report.passed()) refuse(i, report);
    return report.passed();
  }

  // Joins the call, if it may.
  void prepare(std::size_t i) {
    const Job& job = jobs_[i];
    const Clock::time_point now = Clock::now();
    metrics_.observe("nervus_queue_seconds", "", milliseconds(now - job.arrived) / 1e3);
    if (!may_run(i, now)) return;
    observations_.push_back(observation_of(job.request));
    options_.push_back({.steps = job.request.steps, .seed = job.request.seed});
    live_.push_back(i);
    answers_[i].timing["decode"] = job.decode_ms + milliseconds(Clock::now() - now);
  }

  // Behind a shared call that failed, and others alone, a job has grown older.
  void compute_alone(std::size_t k) {
    if (!may_run(live_[k], Clock::now())) return;
    ActionChunk chunk = replica_.infer(observations_[k], options_[k]);
    metrics_.observe("nervus_batch_size", "", 1);
    finish(live_[k], std::move(chunk));
  }

  // False if each has to run alone: any of them may be what failed the call.
  bool compute_together() {
    Answer failed;
    std::vector<ActionChunk> chunks;
    guarded(failed, verdict(), [&] {
      chunks = replica_.infer_batch(observations_, options_);
      if (chunks.size() != live_.size()) fail(ErrorKind::internal, "a batch has another number of chunks");
      metrics_.observe("nervus_batch_size", "", static_cast<double>(live_.size()));
    });
    if (failed.refusal && !failed.device_error) return false;
    for (std::size_t k = 0; k < live_.size(); ++k) {
      if (failed.refusal) answers_[live_[k]] = failed;
      else attempt(live_[k], [&] { finish(live_[k], std::move(chunks[k])); });
    }
    return true;
  }

  // Guards a chunk and writes its reply.
  void finish(std::size_t i, ActionChunk chunk) {
    const Job& job = jobs_[i];
    Answer& answer = answers_[i];
    const Clock::time_point now = Clock::now();
    const auto dimensions = static_cast<std::size_t>(std::max<std::int64_t>(chunk.dimensions, 0));
    const GuardReport report = guard_.check_actions(job.request.state, chunk.values, dimensions);
    metrics_.add("nervus_guard_clamped_total", "", static_cast<double>(report.clamped));
    if (!report.passed()) return refuse(i, report);
    chunk.timing.insert(answer.timing.begin(), answer.timing.end());
    const ReplyTimes times{.infer_ms = milliseconds(Clock::now() - started_),
                           .queue_ms = milliseconds(started_ - job.arrived),
                           .prev_total_ms = job.prev_total_ms};
    answer.reply = write_reply(job.request, chunk, report, times);
    answer.timing = chunk.timing;
    answer.timing["encode"] = milliseconds(Clock::now() - now);
    answer.chunk = std::move(chunk);
    for (const auto& [stage, took] : answer.timing)
      metrics_.observe("nervus_stage_seconds", concat("stage=\"", stage, "\""), took / 1e3);
  }

  Replica& replica_;
  const Guard& guard_;
  std::span<const Job> jobs_;
  Metrics& metrics_;
  std::vector<Answer> answers_;
  const Clock::time_point started_ = Clock::now();
  // Of those that the call computes:
  std::vector<std::size_t> live_;  // their jobs
  std::vector<Observation> observations_;
  std::vector<InferOptions> options_;
};

}  // namespace

std::unique_ptr<Replica> make_replica(Policy policy) { return std::make_unique<PolicyReplica>(std::move(policy)); }

Refusal device_failed() {
  return {.code = "device_failed", .message = "the device failed", .hint = "the server ends; connect again later"};
}

std::vector<ActionChunk> Replica::infer_batch(std::span<const Observation> observations,
                                              std::span<const InferOptions> options) {
  std::vector<ActionChunk> chunks;
  for (std::size_t i = 0; i < observations.size(); ++i) chunks.push_back(infer(observations[i], options[i]));
  return chunks;
}

void warm(Replica& replica) {
  const PolicyInfo& info = replica.info();
  Observation observation;
  for (const std::string& camera : info.cameras)
    observation.images[camera] = {.width = 224, .height = 224, .rgb = std::vector<std::uint8_t>(224 * 224 * 3)};
  observation.state.assign(static_cast<std::size_t>(info.state_dimensions), 0.0f);
  observation.prompt = "warm up";
  const std::vector<Observation> full(static_cast<std::size_t>(info.limits.batch), observation);
  for (const int steps : info.steps) {
    std::vector<ActionChunk> chunks = {replica.infer(observation, {.steps = steps})};
    if (full.size() > 1) {
      for (ActionChunk& chunk : replica.infer_batch(full, std::vector<InferOptions>(full.size(), {.steps = steps})))
        chunks.push_back(std::move(chunk));
    }
    for (const ActionChunk& chunk : chunks)
      if (!Guard::check_finite(chunk.values, static_cast<std::size_t>(chunk.dimensions)).passed())
        fail(ErrorKind::numeric, "the first call: expected finite actions: check the checkpoint and its statistics");
  }
}

std::vector<Answer> answer(Replica& replica, const Guard& guard, std::span<const Job> jobs, Metrics& metrics) noexcept {
  return Call(replica, guard, jobs, metrics).run();
}

}  // namespace nervus::serve
