// Values that are not finite, put into every stage of a real policy: no reply ever carries one.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "checkpoint/support.h"
#include "nervus/array_file.h"
#include "nervus/tools.h"
#include "serve/fake.h"

using namespace nervus;
using namespace nervus::test;

namespace {

constexpr float wrong_values[] = {NAN, INFINITY, -INFINITY};

// The outcome of one request; what its actions carry is finite.
std::string ask(const FakeServer& server, const std::string& request) {
  Robot robot(server);
  robot.send_binary(request);
  const Frame frame = robot.receive();
  if (frame.opcode == 2) {
    const auto document = serve::MsgpackDocument::read(frame.payload);
    const auto actions = serve::read_array(*document.root().find("actions"), "actions");
    REQUIRE(actions);
    for (std::size_t i = 0; i < actions->bytes.size(); i += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, actions->bytes.data() + i, sizeof(value));
      CHECK(std::isfinite(value));
    }
  }
  return outcome(frame);
}

struct Stage {
  const char* name;
  const char* tensor;
};

constexpr Stage stages[] = {
    {"vision, its input", "model.qwenvl_with_expert.qwenvl.visual.patch_embed.proj.weight"},
    {"vision, its result", "model.qwenvl_with_expert.qwenvl.visual.merger.mlp.2.bias"},
    {"prefix, a norm", "model.qwenvl_with_expert.qwenvl.model.layers.0.input_layernorm.weight"},
    {"prefix, keys", "model.qwenvl_with_expert.qwenvl.model.layers.1.self_attn.k_proj.bias"},
    {"denoise, the state", "model.state_proj.bias"},
    {"denoise, the noise", "model.action_in_proj.bias"},
    {"denoise, the time", "model.action_time_mlp_in.bias"},
    {"denoise, a layer", "model.qwenvl_with_expert.qwen_expert.model.layers.0.mlp.down_proj.weight"},
    {"denoise, the actions", "model.action_out_proj.bias"},
};

}  // namespace

TEST_CASE("a weight of any stage that is not finite" * doctest::skip(without_openmp)) {
  const TemporaryDirectory directory;
  synthesise(directory / "sound", {.preset = "tiny", .seed = 1});
  std::filesystem::copy(directory / "sound", directory / "poisoned");
  const std::map<std::string, Array> sound = read_arrays(directory / "sound" / "model.safetensors");
  const auto load = [&] {
    return serve::make_replica(
        Policy::load(directory / "poisoned", {.precision = Precision::f32, .threads = 1, .steps = {2}}));
  };
  for (const Stage& stage : stages)
    for (const float wrong : wrong_values) {
      CAPTURE(stage.name);
      CAPTURE(wrong);
      std::map<std::string, Array> arrays = sound;
      REQUIRE(arrays.contains(stage.tensor));
      arrays.at(stage.tensor).data<float>()[0] = wrong;
      write_arrays(directory / "poisoned" / "model.safetensors", arrays);
      std::vector<std::unique_ptr<serve::Replica>> replicas;
      replicas.push_back(load());
      // It would not be served: its first call fails.
      CHECK(error_of([&] { serve::warm(*replicas.front()); }).first == ErrorKind::numeric);
      FakeServer server({}, std::move(replicas));
      CHECK(ask(server, observation(1)) == "not_finite");
    }
}

TEST_CASE("statistics that carry actions beyond float32" * doctest::skip(without_openmp)) {
  const TemporaryDirectory directory;
  synthesise(directory / "tiny", {.preset = "tiny", .seed = 1});
  std::ifstream file(NERVUS_SOURCE_DIR "/examples/aloha/norm_stats.json");
  nlohmann::json statistics = nlohmann::json::parse(file);
  for (const char* feature : {"action.arm.position", "action.effector.position"})
    for (const auto& [statistic, value] :
         {std::pair("std", 3e38), {"max", 3e38}, {"q99", 3e38}, {"min", -3e38}, {"q01", -3e38}})
      for (auto& one : statistics["norm_stats"][feature][statistic]) one = value;
  std::ofstream(directory / "stats.json") << statistics;
  std::vector<std::unique_ptr<serve::Replica>> replicas;
  replicas.push_back(serve::make_replica(Policy::load(
      directory / "tiny", {.threads = 1, .steps = {2}, .robot = "aloha", .norm_stats = directory / "stats.json"})));
  FakeServer server({}, std::move(replicas));
  CHECK(ask(server, observation(1, 0, std::vector<float>(14))) == "not_finite");
}

TEST_CASE("a request whose state or pixels are not finite") {
  FakeServer server;
  for (const float wrong : wrong_values) {
    CHECK(ask(server, observation(1, 0, {wrong, 0})) == "bad_request");
    const std::vector<float> pixels = {0.5f, wrong, 0.5f};
    serve::MsgpackWriter writer;
    writer.map(3).text("observation/cam_high");
    serve::write_array(writer, pixels, {1, 1, 3});
    writer.text("observation/state").array(2).real(0).real(0).text("prompt").text("go");
    CHECK(ask(server, writer.take()) == "bad_request");
  }
  CHECK(ask(server, observation(7)) == "ok 7");
}
