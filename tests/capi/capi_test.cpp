// The C interface as a program in C uses it (calls.c), and its answers beside those of C++ and of the command line.
#include <doctest/doctest.h>

#include <cstdlib>
#include <thread>

#include "capi/calls.h"
#include "nervus/array_file.h"
#include "nervus/image_file.h"
#include "runtime/support.h"

using namespace nervus;

namespace {

const std::string examples = NERVUS_SOURCE_DIR "/examples/aloha/";

// The example's frames, once decoded, as both interfaces take them.
struct Moment {
  Observation observation;
  std::string checkpoint = test::tiny().string();
  moment c{};

  Moment() {
    for (const char* camera : {"cam_high", "cam_left_wrist", "cam_right_wrist"})
      observation.images[camera] = read_image(examples + camera + ".png");
    for (int i = 0; i < 14; ++i) observation.state.push_back(static_cast<float>(i) / 8.0f - 0.5f);
    observation.prompt = "pick up the red cube";
    c.checkpoint = checkpoint.c_str();
    std::size_t i = 0;
    for (const auto& [camera, image] : observation.images)
      c.images[i++] = {camera.c_str(), image.rgb.data(), image.width, image.height, 0};
    std::copy(observation.state.begin(), observation.state.end(), c.state);
    c.prompt = observation.prompt.c_str();
  }
};

const Moment& example() {
  static const Moment moment;
  return moment;
}

// What a promise that holds returns.
std::string kept(broken_promise promise) { return promise == nullptr ? "" : promise; }

std::vector<float> from_command_line(const Moment& moment, const std::string& seed) {
  const test::TemporaryDirectory directory;
  write_arrays(directory / "state.npy", {{"state", Array::from(moment.observation.state, {14})}});
  std::string command = "'" NERVUS_PROGRAM "' run --quiet --robot aloha --checkpoint " + moment.checkpoint;
  for (const auto& [camera, image] : moment.observation.images)
    command += " --image " + camera + "='" + examples + camera + ".png'";
  command += " --state " + (directory / "state.npy").string() + " --prompt '" + moment.observation.prompt + "'";
  command += " --seed " + seed + " --out " + (directory / "actions.npy").string() + " > /dev/null";
  REQUIRE(std::system(command.c_str()) == 0);
  return read_arrays(directory / "actions.npy").begin()->second.to_float();
}

nervus_dtype dtype_of(const Array& array) {
  switch (array.dtype) {
    case DType::i64: return NERVUS_I64;
    case DType::i32: return NERVUS_I32;
    case DType::boolean: return NERVUS_BOOL;
    case DType::f16: return NERVUS_F16;
    case DType::bf16: return NERVUS_BF16;
    default: return NERVUS_F32;
  }
}

}  // namespace

TEST_CASE("C, C++ and the command line answer with the same bytes") {
  const Moment& moment = example();
  Policy policy = Policy::load(moment.checkpoint, {.robot = "aloha"});
  const std::vector<float> expected = policy.infer(moment.observation, {.seed = 5}).values;
  std::vector<float> actions(50 * 14);
  CHECK(kept(c_actions(&moment.c, 5, actions.data())) == "");
  CHECK(actions == expected);
  CHECK(from_command_line(moment, "5") == expected);
  CHECK(from_command_line(moment, "6") != expected);
}

TEST_CASE("rows of an image may be longer than its pixels") {
  const Moment& moment = example();
  std::vector<float> expected(50 * 14), actions(50 * 14);
  CHECK(kept(c_actions(&moment.c, 1, expected.data())) == "");
  auto padded = moment.c;
  const nervus_image& image = moment.c.images[0];
  const std::size_t row = 3 * static_cast<std::size_t>(image.width), stride = row + 13;
  std::vector<std::uint8_t> rgb(stride * image.height, 77);
  for (int y = 0; y < image.height; ++y) std::copy_n(image.rgb + y * row, row, rgb.begin() + y * stride);
  padded.images[0].rgb = rgb.data();
  padded.images[0].row_bytes = stride;
  CHECK(kept(c_actions(&padded, 1, actions.data())) == "");
  CHECK(actions == expected);
}

TEST_CASE("tensors of a golden give its actions") {
  for (const char* name : {"base", "depth_causal_batch"}) {
    CAPTURE(name);
    const std::map<std::string, Array> arrays = read_arrays(test::golden(name) + "/inputs.safetensors");
    std::vector<nervus_tensor> tensors;
    std::vector<std::string> names;
    for (const char* tensor : {"images", "img_masks", "lang_tokens", "lang_masks", "state", "noise"}) {
      const Array& array = arrays.at(tensor);
      tensors.push_back(
          {tensor, dtype_of(array), array.shape.size(), array.shape.data(), array.bytes.data(), array.bytes.size()});
    }
    const Inputs inputs = test::golden_inputs(name);
    Policy policy = test::load_golden(name, Precision::f32, 0, test::limits_of(inputs));
    const std::vector<float> expected = policy.infer(inputs).values;
    std::vector<float> actions(expected.size());
    CHECK(kept(c_tensor_actions(test::golden(name).c_str(), tensors.data(), tensors.size(), 4, actions.data(),
                                actions.size())) == "");
    CHECK(actions == expected);
  }
}

TEST_CASE("descriptions, chunks, options and progress") { CHECK(kept(c_results(&example().c)) == ""); }

TEST_CASE("what is wrong at load is refused in words") { CHECK(kept(c_load_errors(&example().c)) == ""); }

TEST_CASE("what is wrong with a call is refused in words") { CHECK(kept(c_infer_errors(&example().c)) == ""); }

TEST_CASE("structs of other releases") { CHECK(kept(c_other_releases(&example().c)) == ""); }

TEST_CASE("NULL, and freeing twice") { CHECK(kept(c_nothing(&example().c)) == ""); }

TEST_CASE("a message belongs to its thread") {
  nervus_policy* policy = nullptr;
  CHECK(nervus_policy_load("absent", nullptr, &policy) == NERVUS_IO);
  const std::string message = nervus_error_message();
  CHECK(message.find("absent") != std::string::npos);
  std::thread([] {
    CHECK(std::string(nervus_error_message()).empty());
    CHECK(nervus_policy_load(nullptr, nullptr, nullptr) == NERVUS_USAGE);
  }).join();
  CHECK(nervus_error_message() == message);
}

TEST_CASE("calls of several threads on one policy wait for each other") {
  const Moment& moment = example();
  std::vector<float> expected(50 * 14);
  CHECK(kept(c_actions(&moment.c, 1, expected.data())) == "");
  nervus_load_options load{.size = sizeof load, .robot = "aloha"};
  nervus_policy* policy = nullptr;
  REQUIRE(nervus_policy_load(moment.c.checkpoint, &load, &policy) == NERVUS_OK);
  const nervus_observation observation{sizeof observation, moment.c.images, 3, moment.c.state, 14, moment.c.prompt};
  const nervus_infer_options infer{.size = sizeof infer, .seed = 1};
  std::vector<std::vector<float>> found(3);
  std::vector<std::thread> threads;
  for (std::vector<float>& values : found) {
    threads.emplace_back([&] {
      nervus_actions* actions = nullptr;
      nervus_chunk chunk{.size = sizeof chunk};
      for (int i = 0; i < 3; ++i) {
        nervus_policy_infer(policy, &observation, &infer, &actions);
        nervus_actions_read(actions, &chunk);
        values.assign(chunk.values, chunk.values + chunk.steps * chunk.dimensions);
        nervus_actions_free(&actions);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<float>& values : found) CHECK(values == expected);
  nervus_policy_free(&policy);
}
