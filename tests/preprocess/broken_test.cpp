// What a user is told about a broken image, state or statistics file: the exact message of each.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/file.h"
#include "nervus/error.h"
#include "preprocess/image.h"
#include "preprocess/image_file.h"
#include "preprocess/robots/robot.h"
#include "preprocess/support.h"

using namespace nervus;

namespace {

struct Broken {
  std::string what;
  std::function<void()> act;
  ErrorKind kind;
  std::string message;
};

void check_all(const std::vector<Broken>& table) {
  for (const Broken& row : table) {
    CAPTURE(row.what);
    try {
      row.act();
      FAIL_CHECK("was accepted");
    } catch (const Error& error) {
      CHECK(error.kind() == row.kind);
      CHECK(std::string(error.what()) == row.message);
    }
  }
}

std::string file(const std::string& name) {
  return read_text(NERVUS_SOURCE_DIR "/tests/preprocess/images/" + name, 1 << 20);
}

void decode(const std::string& bytes) { decode_image(std::as_bytes(std::span(bytes.data(), bytes.size())), "a.png"); }

// The bytes with those at `place` replaced.
std::string changed(std::string bytes, std::size_t place, const std::string& with) {
  return bytes.replace(place, with.size(), with);
}

std::uint32_t crc(const std::string& bytes) {
  std::uint32_t sum = 0xffffffffu;
  for (const char byte : bytes) {
    sum ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ (0xedb88320u & (0u - (sum & 1u)));
  }
  return ~sum;
}

std::string big_endian(std::uint32_t value) {
  std::string result;
  for (int shift = 24; shift >= 0; shift -= 8) result += static_cast<char>(value >> shift);
  return result;
}

// An 8-bit RGB PNG that claims these sides, its checksum right.
std::string claiming(std::uint32_t width, std::uint32_t height) {
  std::string bytes = changed(file("type2_depth8.png"), 16, big_endian(width) + big_endian(height));
  return changed(bytes, 29, big_endian(crc(bytes.substr(12, 17))));
}

std::string jpeg_claiming(std::uint16_t width, std::uint16_t height) {
  const std::string bytes = file("grey.jpg");
  const std::size_t frame = bytes.find("\xff\xc0");
  const std::string sides = {static_cast<char>(height >> 8), static_cast<char>(height & 255),
                             static_cast<char>(width >> 8), static_cast<char>(width & 255)};
  return changed(bytes, frame + 5, sides);
}

std::vector<float> state(std::size_t size) { return std::vector<float>(size, 0.5f); }

// Statistics in which `from` is replaced by `to`.
NormStats statistics(const std::string& from = "", const std::string& to = "") {
  std::string text = R"({"norm_stats": {
    "observation.state.arm.position": {"q01": [0,0,0,0,0,0,0,0,0,0,0,0], "q99": [1,1,1,1,1,1,1,1,1,1,1,1]},
    "observation.state.effector.position": {"q01": [0, 0], "q99": [1, 1]},
    "action.arm.position": {"q01": [0,0,0,0,0,0,0,0,0,0,0,0], "q99": [1,1,1,1,1,1,1,1,1,1,1,1]},
    "action.effector.position": {"q01": [0, 0], "q99": [2, 2]}}})";
  const std::size_t place = text.rfind(from);
  REQUIRE(place != std::string::npos);
  return parse_norm_stats(text.replace(place, from.size(), to), "s.json");
}

void transform(const NormStats& stats, std::optional<Normalization> type = std::nullopt) {
  JointTransform(find_robot("robotwin"), stats, type);
}

}  // namespace

TEST_CASE("broken images") {
  const ErrorKind input = ErrorKind::input;
  const std::string png = file("type2_depth8.png");
  const std::string jpeg = file("baseline_420.jpg");
  check_all({
      {"an empty file", [] { decode(""); }, input, "a.png: expected a PNG or JPEG image, found an empty file"},
      {"another format", [] { decode("GIF89a..."); }, input,
       "a.png: expected a PNG or JPEG image, found a file that begins with the bytes 47 49 46 38"},
      {"one byte", [] { decode("\xff"); }, input,
       "a.png: expected a PNG or JPEG image, found a file that begins with the bytes ff"},
      {"a signature alone", [&] { decode(png.substr(0, 8)); }, input, "a.png: not a whole PNG image: end of stream"},
      {"a PNG cut in its pixels", [&] { decode(png.substr(0, png.size() / 2)); }, input,
       "a.png: not a whole PNG image: end of stream"},
      {"a PNG without pixels", [&] { decode(png.substr(0, 33)); }, input,
       "a.png: not a whole PNG image: end of stream"},
      {"a PNG with a wrong checksum", [&] { decode(changed(png, 60, "zzzz")); }, input,
       "a.png: not a whole PNG image: IDAT stream error"},
      {"a PNG header with a wrong checksum", [&] { decode(changed(png, 19, "\x0e")); }, input,
       "a.png: not a whole PNG image: invalid chunk checksum"},
      {"a palette image without palette", [&] { decode(changed(file("type3_depth8.png"), 37, "x")); }, input,
       "a.png: not a whole PNG image: missing PLTE for indexed image"},
      {"a PNG of 16384 x 16384 in 446 bytes", [] { decode(claiming(16384, 16384)); }, input,
       "a.png: expected an image of at most 16384 pixels a side and 67108864 in all, found 16384 x 16384"},
      {"a PNG of 8192 x 8192 in 446 bytes", [] { decode(claiming(8192, 8192)); }, input,
       "a.png: claims 8192 x 8192 pixels, which 446 bytes cannot hold; the file is cut short or damaged"},
      {"a PNG that is too wide", [] { decode(claiming(16385, 1)); }, input,
       "a.png: expected an image of at most 16384 pixels a side and 67108864 in all, found 16385 x 1"},
      {"a PNG without width", [] { decode(claiming(0, 9)); }, input,
       "a.png: not a whole PNG image: invalid image width"},
      {"a PNG of a negative width", [] { decode(claiming(0x80000000u, 9)); }, input,
       "a.png: not a whole PNG image: invalid image width"},
      {"a JPEG cut in its pixels", [&] { decode(jpeg.substr(0, jpeg.size() - 60)); }, input,
       "a.png: not a whole JPEG image: Premature end of JPEG file"},
      {"a JPEG cut in its header", [&] { decode(jpeg.substr(0, 40)); }, input,
       "a.png: not a whole JPEG image: the file ends before its sides are told"},
      {"a JPEG of 3 bytes", [&] { decode(jpeg.substr(0, 3)); }, input,
       "a.png: not a whole JPEG image: the file ends before its sides are told"},
      {"a JPEG with damaged pixels", [&] { decode(changed(jpeg, jpeg.size() - 80, "\xff\xff\xd0\xff\xd9")); }, input,
       "a.png: not a whole JPEG image: Corrupt JPEG data: premature end of data segment"},
      {"a CMYK JPEG", [] { decode(file("cmyk.jpg")); }, input,
       "a.png: expected a grey or RGB JPEG, found CMYK; convert it to RGB first"},
      {"a JPEG of 8000 x 8000 in 455 bytes", [] { decode(jpeg_claiming(8000, 8000)); }, input,
       "a.png: claims 8000 x 8000 pixels, which 455 bytes cannot hold; the file is cut short or damaged"},
      {"a JPEG that is too high", [] { decode(jpeg_claiming(8, 20000)); }, input,
       "a.png: expected an image of at most 16384 pixels a side and 67108864 in all, found 8 x 20000"},
      {"a float array",
       [] {
         image_from_array(Array(DType::f32, {4, 4, 3}), "cam_high");
       },
       input, "cam_high: expected a u8 array [height, width, 3], found f32 [4, 4, 3]"},
      {"channels first",
       [] {
         image_from_array(Array(DType::u8, {3, 4, 4}), "cam_high");
       },
       input, "cam_high: expected a u8 array [height, width, 3], found u8 [3, 4, 4]"},
      {"four channels",
       [] {
         image_from_array(Array(DType::u8, {4, 4, 4}), "cam_high");
       },
       input, "cam_high: expected a u8 array [height, width, 3], found u8 [4, 4, 4]"},
      {"an empty array",
       [] {
         image_from_array(Array(DType::u8, {0, 4, 3}), "cam_high");
       },
       input, "cam_high: the image is empty: 4 x 0 pixels"},
      {"an image whose pixels are missing",
       [] {
         resize_bilinear({4, 4, {}}, 2, 2);
       },
       input, "image: expected width x height x 3 bytes, found 4 x 4 and 0 bytes"},
      {"an empty target",
       [] {
         resize_bilinear({1, 1, {0, 0, 0}}, 0, 2);
       },
       input, "image: cannot be resized to 0 x 2"},
      {"sides that are no multiple of a block", [] { patch_count(224, 230, {}); }, input,
       "image: expected sides that are multiples of 28, found 224 x 230; resize it first"},
  });
}

TEST_CASE("broken states and robots") {
  const JointTransform joints(find_robot("aloha"));
  std::vector<float> nan = state(14), infinite = state(14);
  nan[3] = std::numeric_limits<float>::quiet_NaN();
  infinite[13] = std::numeric_limits<float>::infinity();
  check_all({
      {"too few joints", [&] { joints.state_to_model(state(13), 75); }, ErrorKind::input,
       "state: expected 14 values for robot 'aloha' (left_waist ... right_gripper), found 13"},
      {"no joints", [&] { joints.state_to_model({}, 75); }, ErrorKind::input,
       "state: expected 14 values for robot 'aloha' (left_waist ... right_gripper), found 0"},
      {"a nan", [&] { joints.state_to_model(nan, 75); }, ErrorKind::input,
       "state: value 3 (left_forearm_roll): expected a finite number, found nan"},
      {"an infinity", [&] { joints.state_to_model(infinite, 75); }, ErrorKind::input,
       "state: value 13 (right_gripper): expected a finite number, found infinity"},
      {"a model with too few state values", [&] { joints.state_to_model(state(14), 8); }, ErrorKind::checkpoint,
       "robot 'aloha' has 14 joints, but the model's max_state_dim is 8"},
      {"a model with too few action values", [&] { joints.actions_to_robot(state(8).data(), 1, 8); },
       ErrorKind::checkpoint, "robot 'aloha' has 14 joints, but the model's max_action_dim is 8"},
      {"an unknown robot", [] { find_robot("r2d2"); }, ErrorKind::usage,
       "robot: expected one of aloha, robotwin; found 'r2d2'"},
      {"an unknown normalisation", [] { normalization_from_name("zscore"); }, ErrorKind::usage,
       "normalisation: expected one of identity, meanstd, std, bounds_99, bounds_99_woclip, bounds_98, "
       "bounds_98_woclip, minmax; found 'zscore'"},
  });
}

TEST_CASE("broken statistics") {
  const ErrorKind kind = ErrorKind::checkpoint;
  check_all({
      {"a file that is not JSON", [] { parse_norm_stats("q01 = 3", "s.json"); }, kind,
       "s.json: not valid JSON at line 1, column 1: syntax error while parsing value - invalid literal"},
      {"no norm_stats", [] { parse_norm_stats("{}", "s.json"); }, kind,
       "s.json: field 'norm_stats': expected an object, but it is missing"},
      {"a list of features", [] { parse_norm_stats(R"({"norm_stats": []})", "s.json"); }, kind,
       "s.json: field 'norm_stats': expected an object, found an array of 0"},
      {"a statistic that is a number", [] { statistics("[2, 2]", "2"); }, kind,
       "s.json: field 'norm_stats.action.effector.position.q99': expected an array, each a number, found 2"},
      {"a statistic of rank 2", [] { statistics("[2, 2]", "[[2, 2]]"); }, kind,
       "s.json: field 'norm_stats.action.effector.position.q99[0]': expected a number, found an array of 2"},
      {"a statistic with a NaN", [] { statistics("[2, 2]", "[NaN, 2]"); }, kind,
       "s.json: not valid JSON at line 5, column 57: syntax error while parsing value - invalid literal"},
      {"a statistic with a null", [] { statistics("[2, 2]", "[null, 2]"); }, kind,
       "s.json: field 'norm_stats.action.effector.position.q99[0]': expected a number, found null"},
      {"a number beyond double", [] { statistics("[2, 2]", "[1e999, 2]"); }, kind,
       "s.json: not valid JSON: number overflow parsing '1e999'"},
      {"statistics of two lengths", [] { statistics("[2, 2]", "[2]"); }, kind,
       "s.json: field 'norm_stats.action.effector.position.q99': expected 2 values like the feature's other "
       "statistics, found 1"},
      {"an empty statistic", [] { statistics("[2, 2]", "[]"); }, kind,
       "s.json: field 'norm_stats.action.effector.position.q99': expected a list of numbers, found an array of 0"},
      {"a feature twice", [] { statistics("action.effector.position", "action.arm.position"); }, kind,
       "s.json: the key 'action.arm.position' occurs twice in one object"},
      {"a feature that is missing", [] { transform(statistics("action.effector.position", "action.gripper")); }, kind,
       "s.json: expected feature 'action.effector.position', found 'action.arm.position', 'action.gripper', "
       "'observation.state.arm.position', 'observation.state.effector.position'"},
      {"no features", [] { transform(parse_norm_stats(R"({"norm_stats": {}})", "s.json")); }, kind,
       "s.json: expected feature 'observation.state.arm.position', found none"},
      {"a statistic that is missing", [] { transform(statistics(), Normalization::meanstd); }, kind,
       "s.json: feature 'observation.state.arm.position': 'std' is missing, which meanstd needs"},
      {"too few values", [] { transform(statistics("[0, 0], \"q99\": [2, 2]", "[0], \"q99\": [2]")); }, kind,
       "s.json: feature 'action.effector.position': 'q99': expected 2 values, found 1"},
      {"bounds that are swapped", [] { transform(statistics("[2, 2]", "[2, -2]")); }, kind,
       "s.json: feature 'action.effector.position': value 1: expected q01 <= q99, found 0.000000 and -2.000000"},
      {"a negative deviation",
       [] {
         const std::string twelve = R"({"std": [1,1,1,1,1,1,1,1,1,1,1,1]})";
         transform(parse_norm_stats(R"({"norm_stats": {"action.arm.position": )" + twelve +
                                        R"(, "action.effector.position": {"std": [1, 1]},)" +
                                        R"("observation.state.arm.position": )" + twelve +
                                        R"(, "observation.state.effector.position": {"std": [-1, 1]}}})",
                                    "s.json"),
                   Normalization::std);
       },
       kind, "s.json: feature 'observation.state.effector.position': value 0: expected std >= 0, found -1.000000"},
  });
}
