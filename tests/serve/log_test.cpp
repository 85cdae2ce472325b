// What the server's log says of the replicas that it serves.
#include <doctest/doctest.h>

#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;

namespace {

std::unique_ptr<FakeReplica> replica_on(const std::string& device) {
  auto replica = std::make_unique<FakeReplica>(FakePolicy{});
  PolicyInfo& info = replica->mutable_info();
  info.device = device;
  info.precision = Precision::fp8;
  info.weight_bytes = 1000;
  info.workspace_bytes = 200;
  info.device_bytes = 1300;
  info.attention_plan = {"asked for: auto"};
  info.linear_plan = {"blocks of expert*: not fused: expected compute capability 9.0, found 8.0"};
  return replica;
}

std::vector<std::unique_ptr<serve::Replica>> two_replicas(const std::string& first, const std::string& second) {
  std::vector<std::unique_ptr<serve::Replica>> replicas;
  replicas.push_back(replica_on(first));
  replicas.push_back(replica_on(second));
  return replicas;
}

}  // namespace

TEST_CASE("the log says what each replica chose, and why, at load and at each reload") {
  LogLines log;
  serve::ServiceOptions options;
  options.log = log.sink();
  FakeServer server(options, two_replicas("cuda:0", "cuda:1"));
  auto lines = log.of("replica");
  REQUIRE(lines.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(lines[i]["level"] == "info");
    CHECK(lines[i]["replica"] == i);
    CHECK(lines[i]["device"] == (i == 0 ? "cuda:0" : "cuda:1"));
    CHECK(lines[i]["family"] == "fake");
    CHECK(lines[i]["precision"] == "fp8");
    CHECK(lines[i]["steps"] == std::vector<int>{10});
    CHECK(lines[i]["max_batch"] == 1);
    CHECK(lines[i]["weight_bytes"] == 1000);
    CHECK(lines[i]["workspace_bytes"] == 200);
    CHECK(lines[i]["device_bytes"] == 1300);
    CHECK(lines[i]["attention_plan"] == std::vector<std::string>{"asked for: auto"});
    CHECK(lines[i]["linear_plan"][0].get<std::string>().find("not fused: expected") != std::string::npos);
  }
  server.service().reload([] { return two_replicas("cuda:2", "cuda:3"); });
  lines = log.of("replica");
  REQUIRE(lines.size() == 4);
  CHECK(lines[2]["device"] == "cuda:2");
  CHECK(lines[3]["device"] == "cuda:3");
  CHECK(lines[3]["replica"] == 1);
}
