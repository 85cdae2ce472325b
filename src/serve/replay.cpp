// A recording through the line that served it: dialect -> replica -> guard.
#include "serve/replay.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/message.h"
#include "nervus/record.h"
#include "serve/guard_file.h"
#include "serve/record_file.h"
#include "serve/record_settings.h"

namespace nervus {
namespace serve {
namespace {

std::vector<float> floats_of(std::string_view bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Answers that the same request does not always get: of a deadline, a queue, an observation's age, a device.
bool depends_on_more(const Record& record) {
  if (record.outcome == "ok" || record.outcome == "not_finite" || record.outcome == "bad_request") return false;
  return record.outcome != "guard_tripped" || record.message.find("observation_age_ms") != std::string_view::npos;
}

Answer ask_again(Replica& replica, const RequestRules& rules, const Guard& guard, const Record& record) {
  Metrics metrics;
  try {
    Job job{.message = record.bytes,
            .bytes = record.request,
            .request = read_request(MsgpackDocument::read(record.request), rules),
            .arrived = Clock::now(),
            .deadline = Clock::time_point::max()};
    return std::move(answer(replica, guard, std::span(&job, 1), metrics).front());
  } catch (const Error& error) {
    return {.refusal = Refusal{.code = "bad_request", .message = error.what()}};
  }
}

std::string words_of(std::string_view outcome, std::string_view message, const Shape& shape) {
  return outcome == "ok" ? "ok " + to_string(shape) : concat(outcome, ": ", message);
}

// Sets what differs of two chunks of one shape. Floats are compared as bits: -0 is not 0.
void compare(const std::vector<float>& recorded, const std::vector<float>& replayed, const ActionChunk& chunk,
             ReplayDifference& difference) {
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    if (std::memcmp(&recorded[i], &replayed[i], sizeof(float)) == 0) continue;
    ++difference.elements;
    difference.largest = std::max(difference.largest, std::abs(static_cast<double>(recorded[i]) - replayed[i]));
    if (difference.first) continue;
    const auto dimensions = static_cast<std::size_t>(chunk.dimensions);
    const std::size_t joint = i % dimensions;
    difference.first = {.step = static_cast<std::int64_t>(i / dimensions),
                        .joint = static_cast<std::int64_t>(joint),
                        .name = joint < chunk.names.size() ? chunk.names[joint] : "",
                        .recorded = recorded[i],
                        .replayed = replayed[i]};
  }
}

}  // namespace

ReplayReport replay_through(RecordReader& reader, const RecordSettings& settings, Replica& replica) {
  const PolicyInfo& info = replica.info();
  RequestRules rules = settings.rules;
  rules.cameras = info.cameras;
  rules.steps = info.steps;
  GuardLimits limits;
  if (!settings.robot_file.empty())
    limits = parse_guard_limits(settings.robot_file, "the recording's robot file", info.joints,
                                static_cast<std::size_t>(info.action_dimensions));
  limits.age_ms = std::numeric_limits<double>::infinity();
  const Guard guard(limits);

  ReplayReport report{.info = settings.info};
  while (const auto record = reader.next()) {
    const std::uint64_t index = report.records++;
    if (depends_on_more(*record)) {
      ++report.skipped;
      continue;
    }
    const Answer again = ask_again(replica, rules, guard, *record);
    const Shape shape = again.refusal ? Shape{0, 0} : Shape{again.chunk.steps, again.chunk.dimensions};
    ReplayDifference difference{
        .record = index,
        .session = record->session,
        .ticket = record->ticket,
        .seed = record->seed,
        .steps = static_cast<int>(std::min<std::uint64_t>(record->steps, std::numeric_limits<int>::max())),
        .dialect = std::string(record->dialect),
        .recorded = words_of(record->outcome, record->message, record->shape),
        .replayed =
            again.refusal ? words_of(again.refusal->code, again.refusal->message, shape) : words_of("ok", "", shape)};
    const bool comparable = difference.recorded == difference.replayed && record->shape == shape;
    if (comparable) compare(floats_of(record->actions), again.chunk.values, again.chunk, difference);
    if (comparable && difference.elements == 0) ++report.identical;
    else report.differences.push_back(std::move(difference));
  }
  report.end = reader.end();
  return report;
}

}  // namespace serve

RecordInfo read_record_info(const std::filesystem::path& file) {
  return serve::read_settings(serve::RecordReader(file).settings(), file.string()).info;
}

ReplayReport replay(const std::filesystem::path& file, const std::filesystem::path& directory,
                    const LoadOptions& load) {
  serve::RecordReader reader(file);
  serve::RecordSettings settings = serve::read_settings(reader.settings(), file.string());
  settings.rules.robot = load.robot;
  const auto replica = serve::make_replica(Policy::load(directory, load));
  ReplayReport report = serve::replay_through(reader, settings, *replica);
  if (report.records == 0)
    fail(ErrorKind::input, file.string(), ": expected at least one whole request, found none",
         report.end.why.empty() ? "" : ": ", report.end.why);
  return report;
}

}  // namespace nervus
