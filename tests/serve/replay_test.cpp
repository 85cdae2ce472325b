// A server that records, and its recording asked again.
#include "serve/replay.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "checkpoint/support.h"
#include "serve/fake.h"
#include "serve/guard_file.h"

using namespace nervus;
using namespace nervus::serve;
using nervus::test::error_of;
using nervus::test::FakePolicy;
using nervus::test::FakeReplica;
using nervus::test::FakeServer;
using nervus::test::observation;
using nervus::test::outcome;
using nervus::test::Robot;
namespace fs = std::filesystem;

namespace {

struct Recording {
  fs::path path = fs::temp_directory_path() / ("nervus-replay-" + std::to_string(getpid()));
  Recording() { fs::remove(path); }
  ~Recording() { fs::remove(path); }

  ServiceOptions options(const std::string& robot_file = "") const {
    ServiceOptions options;
    options.record = path;
    options.rules.prompt = "tidy up";
    options.rules.camera_names = {{"observation/exterior", "cam_high"}};
    ServeOptions served{.cameras = options.rules.camera_names, .prompt = options.rules.prompt};
    if (!robot_file.empty()) {
      served.robot_file = path.string() + ".json";
      std::ofstream(served.robot_file) << robot_file;
      options.guard = read_guard_limits(served.robot_file, {}, 2);
    }
    options.record_settings = write_settings(served, FakeReplica({}).info());
    fs::remove(path.string() + ".json");
    return options;
  }

  ReplayReport replay(FakePolicy policy) const {
    RecordReader reader(path);
    const RecordSettings settings = read_settings(reader.settings(), "recording");
    FakeReplica replica(std::move(policy));
    return replay_through(reader, settings, replica);
  }
};

// Actions that depend on all that a request has.
void answer_with(const Observation& seen, const InferOptions& chosen, ActionChunk& chunk) {
  for (std::size_t i = 0; i < chunk.values.size(); ++i)
    chunk.values[i] = seen.state[i % 2] + static_cast<float>(chosen.seed) + 0.1f * static_cast<float>(i) +
                      static_cast<float>(seen.prompt.size());
}

}  // namespace

TEST_CASE("a recording asked again gives the same bytes, with the server's own defaults") {
  const Recording recording;
  {
    FakeServer server(answer_with, recording.options());
    Robot robot(server), other(server);
    for (const std::uint64_t seed : {1, 2, 3}) {
      robot.send_binary(observation(seed));
      CHECK(outcome(robot.receive()) == "ok " + std::to_string(seed));
    }
    // Without a prompt and a seed, with a camera's further name.
    MsgpackWriter writer;
    writer.map(2).text("observation/exterior");
    write_array(writer, {DType::u8, {1, 1, 3}, "abc"});
    writer.text("observation/state").array(2).real(0.5).real(1);
    other.send_binary(writer.take());
    CHECK(outcome(other.receive()) == "ok 0");
    writer = {};
    writer.map(3).text("observation.images.cam_high");
    write_array(writer, {DType::u8, {1, 1, 3}, "abc"});
    writer.text("observation.state").array(2).real(0.5).real(1).text("task").text("wave");
    other.send_binary(writer.take());
    CHECK(outcome(other.receive()) == "ok 0");
  }
  const ReplayReport report = recording.replay(answer_with);
  CHECK(report.records == 5);
  CHECK(report.identical == 5);
  CHECK(report.skipped == 0);
  CHECK(report.passed());
  CHECK(report.info.family == "fake");
  CHECK(report.end.why.empty());
  RecordReader reader(recording.path);
  std::vector<std::string> dialects;
  std::vector<std::uint64_t> seeds;
  while (const auto record = reader.next()) {
    dialects.emplace_back(record->dialect);
    seeds.push_back(record->seed);
    CHECK(record->steps == 10);
    CHECK(record->infer_ms == 1.0);
    CHECK(record->answered_ms > 0);
    if (seeds.size() == 2) CHECK(record->request == observation(2));
  }
  CHECK(dialects == std::vector<std::string>{"openpi", "openpi", "openpi", "openpi", "lingbot"});
  CHECK(seeds == std::vector<std::uint64_t>{1, 2, 3, 0, 0});
}

TEST_CASE("a reply that differs in one bit is told, with its first element") {
  const Recording recording;
  {
    FakeServer server(answer_with, recording.options());
    Robot robot(server);
    for (const std::uint64_t seed : {1, 2, 3, 4}) {
      robot.send_binary(observation(seed));
      robot.receive();
    }
  }
  const ReplayReport report =
      recording.replay([](const Observation& seen, const InferOptions& chosen, ActionChunk& chunk) {
        answer_with(seen, chosen, chunk);
        if (chosen.seed == 2)
          for (const std::size_t i : {5, 7}) chunk.values[i] = std::nextafter(chunk.values[i], 1000.0f);
        if (chosen.seed == 3) throw Error(ErrorKind::numeric, "nan");
        if (chosen.seed == 4) chunk = {.steps = 2, .dimensions = 2, .values = {1, 2, 3, 4}};
      });
  CHECK(report.records == 4);
  CHECK(report.identical == 1);
  CHECK(!report.passed());
  REQUIRE(report.differences.size() == 3);
  const ReplayDifference& bit = report.differences[0];
  CHECK(bit.record == 1);
  CHECK(bit.ticket == 1);
  CHECK(bit.seed == 2);
  CHECK(bit.elements == 2);
  REQUIRE(bit.first);
  CHECK(bit.first->step == 2);
  CHECK(bit.first->joint == 1);
  CHECK(bit.first->name == "b");
  CHECK(bit.first->recorded == 4.5f);
  CHECK(bit.first->replayed == std::nextafter(4.5f, 1000.0f));
  CHECK(bit.largest == static_cast<double>(std::nextafter(4.5f, 1000.0f)) - 4.5);
  CHECK(report.differences[1].recorded == "ok [4, 2]");
  CHECK(report.differences[1].replayed == "not_finite: the policy made a value that is not a finite number");
  CHECK(!report.differences[1].first);
  CHECK(report.differences[2].replayed == "ok [2, 2]");
}

TEST_CASE("zeros of another sign differ") {
  const Recording recording;
  {
    FakeServer server({}, recording.options());
    Robot robot(server);
    robot.send_binary(observation());
    robot.receive();
  }
  CHECK(recording.replay({}).passed());
  const ReplayReport report =
      recording.replay([](const Observation&, const InferOptions&, ActionChunk& chunk) { chunk.values[0] = -0.0f; });
  CHECK(report.differences.size() == 1);
}

TEST_CASE("refusals are asked again too, but for those that depend on time or a device") {
  const Recording recording;
  const std::string limits = R"({"version": 1, "observation_age_ms": 100, "joints": [
      {"name": "a", "state_max": 5, "max": 100}, {"name": "b"}]})";
  const FakePolicy policy = [](const Observation& seen, const InferOptions& chosen, ActionChunk& chunk) {
    answer_with(seen, chosen, chunk);
    if (chosen.seed == 66) chunk.values[3] = NAN;
    if (chosen.seed == 67) throw Error(ErrorKind::internal, "a secret");
    if (chosen.seed == 68) throw Error(ErrorKind::input, "the prompt is bad");
  };
  {
    FakeServer server(policy, recording.options(limits));
    Robot robot(server);
    const auto asked = [&](const std::string& request) {
      robot.send_binary(request);
      return outcome(robot.receive());
    };
    CHECK(asked(observation(1)) == "ok 1");
    CHECK(asked(observation(200)) == "ok 200");  // cut to 100
    CHECK(asked(observation(66)) == "not_finite");
    CHECK(asked(observation(67)) == "internal");
    CHECK(asked(observation(68)) == "bad_request");
    CHECK(asked(observation(2, 0, {9, 0})) == "guard_tripped");
    MsgpackWriter old;
    old.map(3).text("observation/cam_high");
    write_array(old, {DType::u8, {1, 1, 3}, "abc"});
    old.text("observation/state").array(2).real(0).real(0).text("observation_age_ms").real(500);
    CHECK(asked(old.take()) == "guard_tripped");
  }
  const ReplayReport report = recording.replay(policy);
  CHECK(report.records == 7);
  CHECK(report.skipped == 2);  // internal, and too old
  CHECK(report.identical == 5);
  CHECK(report.passed());
  // Without what refused, there are other answers.
  const ReplayReport other = recording.replay(answer_with);
  REQUIRE(other.differences.size() == 2);
  CHECK(other.differences[0].recorded == "not_finite: step 1, joint 1: not a finite number");
  CHECK(other.differences[0].replayed == "ok [4, 2]");
  CHECK(other.differences[1].recorded == "bad_request: the prompt is bad");
}

TEST_CASE("an observation that was just young enough is not too old when it is asked again; steps are the policy's") {
  const Recording recording;
  const ServiceOptions options = recording.options(R"({"version": 1, "observation_age_ms": 100, "joints": [
      {"name": "a"}, {"name": "b"}]})");
  MsgpackWriter request;
  request.map(5).text("observation/cam_high");
  write_array(request, {DType::u8, {1, 1, 3}, "abc"});
  request.text("observation/state").array(2).real(0).real(0).text("prompt").text("go");
  request.text("observation_age_ms").real(100).text("steps").natural(10);
  const std::string bytes = request.take(), zeros(32, '\0');
  Record record{.dialect = "openpi", .steps = 10, .outcome = "ok", .request = bytes, .shape = {4, 2}, .actions = zeros};
  {
    RecordFile file(recording.path, options.record_settings);
    file.append(encode(record));
  }
  CHECK(recording.replay({}).identical == 1);
}

TEST_CASE("a file that says otherwise of a refusal is believed nothing that the answer does not have") {
  const Recording recording;
  const std::string request = observation(68), zeros(32, '\0');
  {
    RecordFile file(recording.path, recording.options().record_settings);
    file.append(encode({.dialect = "openpi",
                        .outcome = "bad_request",
                        .message = "the prompt is bad",
                        .request = request,
                        .shape = {4, 2},
                        .actions = zeros}));
  }
  const ReplayReport report = recording.replay([](const Observation&, const InferOptions&, ActionChunk&) {
    throw Error(ErrorKind::input, "the prompt is bad");
  });
  CHECK(report.identical == 0);
  REQUIRE(report.differences.size() == 1);
  CHECK(report.differences[0].elements == 0);
}

TEST_CASE("a recording that cannot be made is told before the server listens") {
  const Recording recording;
  std::ofstream(recording.path) << "precious";
  CHECK(error_of([&] {
          std::vector<std::unique_ptr<Replica>> replicas;
          replicas.push_back(std::make_unique<FakeReplica>(FakePolicy()));
          Service(std::move(replicas), recording.options());
        }).second.ends_with("it exists already: name another file"));
}

TEST_CASE("settings are read as they were written, and wrong ones named") {
  const FakeReplica replica({});
  ServeOptions options{.load = {.precision = Precision::f32,
                                .attention = Attention::plain,
                                .time_grid = TimeGrid::bf16_accumulated,
                                .robot = "aloha",
                                .normalization = "minmax"},
                       .dialect = Dialect::lingbot,
                       .cameras = {{"left", "cam_high"}},
                       .prompt = "tidy \"up\"",
                       .seed = std::uint64_t{0} - 1};
  const std::string text = write_settings(options, replica.info());
  const RecordSettings read = read_settings(text, "r");
  CHECK(read.info.load.precision == Precision::f32);
  CHECK(read.info.load.attention == Attention::plain);
  CHECK(read.info.load.time_grid == TimeGrid::bf16_accumulated);
  CHECK(read.info.load.robot == "aloha");
  CHECK(read.info.load.normalization == "minmax");
  CHECK(read.info.load.steps == std::vector<int>{10});
  CHECK(read.info.version == "0.1.0");
  CHECK(read.rules.dialect == Dialect::lingbot);
  CHECK(read.rules.camera_names == std::map<std::string, std::string>{{"left", "cam_high"}});
  CHECK(read.rules.prompt == "tidy \"up\"");
  CHECK(read.rules.seed == std::uint64_t{0} - 1);
  CHECK(read.rules.robot == "aloha");
  CHECK(read.robot_file.empty());

  const auto said = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const std::size_t at = changed.find(from);
    REQUIRE(at != std::string::npos);
    changed.replace(at, from.size(), to);
    const auto [kind, words] = error_of([&] { read_settings(changed, "r"); });
    CHECK(kind == ErrorKind::input);
    return words;
  };
  CHECK(said("{", "[").starts_with("r: settings: not valid JSON at line 1, column 10"));
  CHECK(said("\"lingbot\"", "\"x\"") ==
        "r: settings: field 'rules.dialect': expected one of auto, openpi, lingbot, found \"x\"");
  CHECK(said("\"f32\"", "\"f64\"") == "precision: expected f32, bf16, f16, fp8 or int8, found 'f64'");
  CHECK(said("18446744073709551615", "-1") == "r: settings: field 'rules.seed': expected an integer from 0, found -1");
  CHECK(said("[10]", "[0]") == "r: settings: field 'load.steps[0]': expected an integer from 1 to 1000, found 0");
  CHECK(said("\"rules\"", "\"rule\"").starts_with("r: settings: field 'rules': expected"));
}
