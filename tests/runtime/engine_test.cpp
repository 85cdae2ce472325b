#include "runtime/engine.h"

#include <doctest/doctest.h>

#include <limits>

#include "nervus/array_file.h"
#include "runtime/support.h"

using namespace nervus;

TEST_CASE("attention has three names, and a CPU one kernel") {
  for (const char* name : {"auto", "fast", "plain"}) CHECK(name_of(attention_from(name)) == std::string(name));
  CHECK(test::error_of([] { attention_from("slow"); }) ==
        std::pair{ErrorKind::usage, std::string("attention: expected auto, fast or plain, found 'slow'")});
  CHECK(test::error_of([] { open_device({.attention = Attention::fast}); }) ==
        std::pair{ErrorKind::unsupported,
                  std::string("attention 'fast': device 'cpu' has one attention kernel, for every shape: use "
                              "--attention auto, or another device")});
  CHECK(test::error_of([] { inspect(test::tiny(), {.attention = Attention::fast}); }).first == ErrorKind::unsupported);
  CHECK(open_device({.attention = Attention::plain})->attention_plan().size() == 1);
}

TEST_CASE("a CPU has no plan: a load and an inspection that ask for one are refused, and no file is made") {
  const test::TemporaryDirectory directory;
  const LoadOptions options{.plan = directory / "a.plan"};
  const std::pair refusal{ErrorKind::unsupported,
                          "plan '" + options.plan.string() +
                              "': device 'cpu' has no choices to keep, its sums are the same in every load: leave the "
                              "option out, or use another device"};
  CHECK(test::error_of([&] { Policy::load(test::tiny(), options); }) == refusal);
  CHECK(test::error_of([&] { inspect(test::tiny(), options); }) == refusal);
  CHECK(!std::filesystem::exists(options.plan));
  CHECK(open_device({})->choices().empty());
}

TEST_CASE("a device's peaks are measured, and what a CPU does not say is said to be unknown") {
  const DevicePeaks peaks = measure_peaks({.precision = Precision::f32});
  CHECK(peaks.flops > 1e9);
  CHECK(peaks.flops < 1e14);
  CHECK(peaks.bytes_per_second > 1e9);
  CHECK(peaks.bytes_per_second < 1e13);
  CHECK(!device_state("cpu").unknown.empty());
  CHECK(test::error_of([] { device_state("tpu"); }).first == ErrorKind::usage);
}

TEST_CASE("wrong options are refused in words") {
  const std::pair<LoadOptions, std::string> table[] = {
      {{.device = "tpu"}, "device 'tpu': expected cpu, cuda or cuda:N"},
      {{.device = "cuda:x"}, "device 'cuda:x': expected cpu, cuda or cuda:N"},
      {{.threads = -1}, "threads: expected 0 (all cores) to 1024, found -1"},
      {{.steps = {0}}, "steps: expected 1 to 1000, found 0"},
      {{.steps = {10, 1001}}, "steps: expected 1 to 1000, found 1001"},
      {{.limits = {.batch = -1}}, "limit 'batch': expected 1 to 256, found -1"},
      {{.limits = {.views = 65}}, "limit 'views': expected 1 to 64, found 65"},
      {{.limits = {.patches = 255}},
       "images: expected a square number of patches a view, a multiple of 2 a side (such as 256), found 255"},
      {{.robot = "hal"}, "robot: expected one of aloha, robotwin; found 'hal'"},
      {{.norm_stats = "stats.json"},
       "norm_stats: expected a robot to go with it, found none: name the robot whose joints the statistics describe "
       "(aloha, robotwin)"},
      {{.robot = "aloha", .normalization = "zscore"},
       "normalisation: expected one of identity, meanstd, std, bounds_99, bounds_99_woclip, bounds_98, "
       "bounds_98_woclip, minmax; found 'zscore'"},
  };
  for (const auto& [options, message] : table) {
    CHECK(test::error_of([&] { Policy::load(test::tiny(), options); }).second == message);
  }
  Policy policy = Policy::load(test::tiny(), {.steps = {2, 3, 2}});
  CHECK(policy.info().steps == std::vector<int>{2, 3});
  const Inputs inputs = policy.preprocess(
      {.images = {{"cam_high", {2, 2, std::vector<std::uint8_t>(12)}}}, .state = {0}, .prompt = "go"});
  CHECK(test::error_of([&] { policy.infer(inputs, {.steps = 4}); }).second ==
        "steps: expected one of those that the policy was loaded for (2, 3), found 4: add it to LoadOptions::steps");
}

TEST_CASE("a checkpoint without its tensors says which, and how many more") {
  test::TemporaryDirectory directory;
  std::filesystem::copy(test::golden("causal") + "/config.json", directory / "config.json");
  auto arrays = read_arrays(test::golden("causal") + "/model.safetensors");
  const std::string root = "model.qwenvl_with_expert.";
  arrays.erase(root + "qwenvl.visual.merger.mlp.0.bias");
  arrays[root + "qwen_expert.model.norm.weight"] = Array(DType::f32, {127});
  arrays[root + "qwenvl.model.layers.0.input_layernorm.weight"] = Array(DType::i32, {256});
  write_arrays(directory / "model.safetensors", arrays);
  const auto load = [&] { return test::error_of([&] { Policy::load(directory.path()); }, directory.path()); };
  CHECK(load().first == ErrorKind::checkpoint);
  CHECK(
      load().second ==
      "model.safetensors: tensor 'model.qwenvl_with_expert.qwenvl.visual.merger.mlp.0.bias': expected [640], found no "
      "such tensor\n"
      "model.safetensors: tensor 'model.qwenvl_with_expert.qwenvl.model.layers.0.input_layernorm.weight': expected "
      "f32, "
      "f16 or bf16, found i32\n"
      "model.safetensors: tensor 'model.qwenvl_with_expert.qwen_expert.model.norm.weight': expected [128], found "
      "[127]\ntake config.json and the weights from one checkpoint");
  std::erase_if(arrays, [](const auto& named) { return named.first.ends_with(".bias"); });
  write_arrays(directory / "model.safetensors", arrays);
  CHECK(load().second.ends_with(
      "more: `nervus inspect` lists them all\ntake config.json and the weights from one checkpoint"));
}

TEST_CASE("what the last language layer does not need may be absent") {
  test::TemporaryDirectory directory;
  std::filesystem::copy(test::golden("causal") + "/config.json", directory / "config.json");
  auto arrays = read_arrays(test::golden("causal") + "/model.safetensors");
  const std::string last = "model.qwenvl_with_expert.qwenvl.model.layers.1.";
  for (const char* name : {"self_attn.q_proj.weight", "self_attn.o_proj.weight", "mlp.down_proj.weight"}) {
    REQUIRE(arrays.erase(last + name) == 1);
  }
  write_arrays(directory / "model.safetensors", arrays);
  CHECK(verify(directory.path(), test::golden("causal"), {.precision = Precision::f32}).passed());
}

TEST_CASE("tensors that the weight table does not know are not used, whatever they are called") {
  test::TemporaryDirectory directory;
  std::filesystem::copy(test::golden("causal") + "/config.json", directory / "config.json");
  auto arrays = read_arrays(test::golden("causal") + "/model.safetensors");
  const std::string root = "model.qwenvl_with_expert.", gate = root + "qwen_expert.model.layers.1.input_layernorm.gate";
  const auto ones = [](Shape shape) { return Array::from(std::vector<float>(element_count(shape), 1.0f), shape); };
  arrays[root + "qwenvl.model.layers.0.self_attn.o_proj.bias"] = ones({256});
  arrays[gate + ".weight"] = ones({128, 128});
  arrays[gate + ".bias"] = ones({128});
  write_arrays(directory / "model.safetensors", arrays);
  CHECK(inspect(directory.path()).unknown.size() == 3);
  CHECK(verify(directory.path(), test::golden("causal"), {.precision = Precision::f32}).passed());
}

TEST_CASE("weights that overflow give an error, never a NaN") {
  test::TemporaryDirectory directory;
  std::filesystem::copy(test::golden("causal") + "/config.json", directory / "config.json");
  auto arrays = read_arrays(test::golden("causal") + "/model.safetensors");
  Array& weight = arrays.at("model.action_out_proj.weight");
  weight = weight.converted(DType::f32);
  weight.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  write_arrays(directory / "model.safetensors", arrays);
  const Inputs inputs = test::golden_inputs("causal");
  Policy policy =
      Policy::load(directory.path(), {.precision = Precision::f32, .steps = {1}, .limits = test::limits_of(inputs)});
  const auto [kind, message] = test::error_of([&] { policy.infer(inputs); });
  CHECK(kind == ErrorKind::numeric);
  CHECK(message ==
        "actions[0, 0, 0]: expected a finite value, found nan: the weights or inputs overflow; try "
        "--precision f32, or check the checkpoint");
}

TEST_CASE("progress covers the file and ends at its size") {
  std::int64_t last = 0, total = 0;
  bool rising = true;
  Policy::load(test::tiny(), {.progress = [&](std::int64_t done, std::int64_t all, const std::string& what) {
                 rising = rising && done >= last && !what.empty();
                 last = done;
                 total = all;
               }});
  CHECK(rising);
  CHECK(last > 9 * total / 10);
  CHECK(last <= total);
}

TEST_CASE("an observation that is wrong is refused in words") {
  Policy policy = Policy::load(test::tiny(), {.steps = {1}, .robot = "aloha"});
  const Image image{2, 2, std::vector<std::uint8_t>(12)};
  const std::vector<float> state(14);
  std::vector<float> spoiled = state;
  spoiled[2] = std::numeric_limits<float>::quiet_NaN();
  const std::pair<Observation, std::string> table[] = {
      {{{}, state, "go"}, "images: expected at least one of cam_high, cam_left_wrist, cam_right_wrist, found none"},
      {{{{"cam_low", image}}, state, "go"},
       "camera 'cam_low': expected one of cam_high, cam_left_wrist, cam_right_wrist"},
      {{{{"cam_high", {2, 3, image.rgb}}}, state, "go"},
       "camera 'cam_high': expected width x height x 3 bytes, found 2 x 3 and 12 bytes"},
      {{{{"cam_high", {0, 0, {}}}}, state, "go"},
       "camera 'cam_high': expected width x height x 3 bytes, found 0 x 0 and 0 bytes"},
      {{{{"cam_high", image}}, {1, 2}, "go"},
       "state: expected 14 values for robot 'aloha' (left_waist ... right_gripper), found 2"},
      {{{{"cam_high", image}}, spoiled, "go"}, "state: value 2 (left_elbow): expected a finite number, found nan"},
  };
  for (const auto& [observation, message] : table) {
    const auto [kind, found] = test::error_of([&] { policy.infer(observation); });
    CHECK(kind == ErrorKind::input);
    CHECK(found == message);
  }
  CHECK(test::error_of([&] { policy.infer({{{"cam_high", image}}, state, "\xff"}); }).first == ErrorKind::input);
}

TEST_CASE("a robot that does not fit is found at load, before weights are read") {
  bool read = false;
  const auto load = [&](LoadOptions options) {
    options.progress = [&](std::int64_t, std::int64_t, const std::string&) { read = true; };
    return test::error_of([&] { Policy::load(test::golden("odd_one_view"), options); });
  };
  CHECK(load({.robot = "hal"}).first == ErrorKind::usage);
  CHECK(load({.robot = "aloha"}).first == ErrorKind::usage);  // no statistics
  const auto [kind, message] = load({.robot = "aloha", .normalization = "identity"});
  CHECK(kind == ErrorKind::checkpoint);
  CHECK(message == "robot 'aloha' has 14 joints, but the model's max_state_dim is 9");
  CHECK_FALSE(read);
}

TEST_CASE("without a tokenizer, tensors still run and instructions are refused") {
  const Inputs inputs = test::golden_inputs("causal");
  Policy policy = test::load_golden("causal", Precision::f32, 1, test::limits_of(inputs));
  CHECK_NOTHROW(policy.infer(inputs));
  const Observation observation{{{"cam_high", {2, 2, std::vector<std::uint8_t>(12)}}}, {0}, "go"};
  CHECK(test::error_of([&] { policy.infer(observation); }, test::golden("causal")).second ==
        "DIRECTORY: expected tokenizer.json, or vocab.json and merges.txt, found neither: copy Qwen2.5's into the "
        "checkpoint's directory to use instructions");
}
