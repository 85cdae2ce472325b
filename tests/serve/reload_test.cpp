// A policy that takes another's place while it is served.
#include <doctest/doctest.h>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;

TEST_CASE(
    "reload: what is under way is finished as it began, the next call is the new policy's, a failure keeps the old") {
  Gate begun, go;
  const auto policy = [](float value, Gate* begun, Gate* go) {
    std::vector<std::unique_ptr<serve::Replica>> all;
    all.push_back(std::make_unique<FakeReplica>([=](const Observation&, const InferOptions&, ActionChunk& chunk) {
      if (begun) begun->open();
      if (go) go->wait();
      chunk.values.assign(8, value);
    }));
    return all;
  };
  FakeServer server({}, policy(1, &begun, &go));
  const auto value_of = [](const Frame& frame) {
    const auto document = serve::MsgpackDocument::read(frame.payload);
    return serve::read_numbers(*document.root().find("actions"), "actions").at(0);
  };
  Robot first(server), second(server);
  first.send_binary(observation(1));
  begun.wait();
  CHECK_THROWS_AS(server.service().reload([]() -> std::vector<std::unique_ptr<serve::Replica>> {
    throw Error(ErrorKind::checkpoint, "no such weights");
  }),
                  Error);
  CHECK_THROWS_AS(server.service().reload([] {
    std::vector<std::unique_ptr<serve::Replica>> all;
    all.push_back(std::make_unique<FakeReplica>(FakePolicy{}, std::vector<std::string>{"other_camera"}));
    return all;
  }),
                  Error);
  server.service().reload([&] { return policy(2, nullptr, nullptr); });
  go.open();
  CHECK(value_of(first.receive()) == 1);
  second.send_binary(observation(2));
  CHECK(value_of(second.receive()) == 2);
}

TEST_CASE("reload: a policy that clients would have to speak to otherwise is refused, and the log says so") {
  const std::vector<std::pair<const char*, std::function<void(PolicyInfo&)>>> others = {
      {"cameras", [](PolicyInfo& info) { info.cameras = {"other"}; }},
      {"joints",
       [](PolicyInfo& info) {
         info.joints = {"a", "b"};
       }},
      {"steps",
       [](PolicyInfo& info) {
         info.steps = {10, 25};
       }},
      {"chunk_steps", [](PolicyInfo& info) { info.chunk_steps = 5; }},
      {"state_dimensions", [](PolicyInfo& info) { info.state_dimensions = 3; }},
      {"action_dimensions", [](PolicyInfo& info) { info.action_dimensions = 3; }},
      {"batch", [](PolicyInfo& info) { info.limits.batch = 2; }},
  };
  LogLines log;
  serve::ServiceOptions with_log;
  with_log.log = log.sink();
  FakeServer server({}, with_log, 2);
  // The second of two, so that each is looked at.
  const auto load = [](int count, const std::function<void(PolicyInfo&)>& change) {
    std::vector<std::unique_ptr<serve::Replica>> all;
    for (int i = 0; i < count; ++i) {
      auto replica = std::make_unique<FakeReplica>(
          [](const Observation&, const InferOptions&, ActionChunk& chunk) { chunk.values.assign(8, 1.0f); });
      if (i == 1 && change) change(replica->mutable_info());
      all.push_back(std::move(replica));
    }
    return all;
  };
  const auto error_of_reload = [&](int count, const std::function<void(PolicyInfo&)>& change) -> std::optional<Error> {
    try {
      server.service().reload([&] { return load(count, change); });
    } catch (const Error& error) {
      return error;
    }
    return std::nullopt;
  };
  for (const auto& [name, change] : others) {
    CAPTURE(name);
    const auto error = error_of_reload(2, change);
    REQUIRE(error);
    CHECK(error->kind() == ErrorKind::checkpoint);
    CHECK(std::string(error->what()).find("expected a policy of the same cameras") != std::string::npos);
  }
  CHECK(error_of_reload(1, {})->kind() == ErrorKind::internal);
  CHECK(log.of("reload_failed").size() == others.size() + 1);
  CHECK(log.of("reload_failed")[0]["message"].get<std::string>().starts_with("reload: expected a policy"));
  CHECK(log.of("reloaded").empty());
  Robot robot(server);
  robot.send_binary(observation(1));
  const Frame frame = robot.receive();
  const auto document = serve::MsgpackDocument::read(frame.payload);
  CHECK(serve::read_numbers(*document.root().find("actions"), "actions").at(0) == 0);  // the old one's
  CHECK_FALSE(error_of_reload(2, {}));
  CHECK(log.of("reloaded").size() == 1);
}

TEST_CASE("reload: while the old policy gives its memory back, the new one answers") {
  Gate freeing, freed;
  // The lambda is the policy: with it goes what it holds.
  auto held = std::shared_ptr<int>(new int(0), [&](const int* value) {
    freeing.open();
    freed.wait();
    delete value;
  });
  std::vector<std::unique_ptr<serve::Replica>> old;
  old.push_back(std::make_unique<FakeReplica>([held](const Observation&, const InferOptions&, ActionChunk&) {}));
  FakeServer server({}, std::move(old));
  Robot robot(server);
  held.reset();  // the policy alone has it
  std::thread reloading([&] {
    server.service().reload([] {
      std::vector<std::unique_ptr<serve::Replica>> all;
      all.push_back(std::make_unique<FakeReplica>(FakePolicy{}));
      return all;
    });
  });
  freeing.wait();
  robot.send_binary(observation(1));
  CHECK(outcome(robot.receive(5000)) == "ok 1");
  freed.open();
  reloading.join();
}
