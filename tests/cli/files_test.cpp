// What run reads and compare judges: states in every format, images as arrays, noise, and small differences.
#include <doctest/doctest.h>

#include <cmath>

#include "cli/program.h"
#include "nervus/array_file.h"

using nervus::Array;
using nervus::Shape;
using nervus::write_arrays;
using nervus::test::Outcome;
using nervus::test::program;
using nervus::test::scratch;
using nervus::test::write_file;

namespace {

const std::string run = "run --checkpoint tiny --robot aloha --steps 1 --quiet --prompt hi ";
const std::string image = "--image cam_high=$examples/aloha/cam_high.png ";

void array_file(const std::string& name, const std::vector<float>& values, Shape shape) {
  write_arrays(scratch() / name, {{"values", Array::from(values, std::move(shape))}});
}

}  // namespace

TEST_CASE("a state reads the same from every format") {
  std::vector<float> values;
  std::string list, names, lines;
  for (int i = 0; i < 14; ++i) {
    values.push_back(static_cast<float>(i) / 8.0f - 0.5f);
    list += (i > 0 ? ", " : "") + std::to_string(values.back());
    names += (i > 0 ? "," : "") + std::string("joint") + std::to_string(i);
    lines += std::to_string(values.back()) + "\n";
  }
  write_file(scratch() / "list.json", "[" + list + "]");
  write_file(scratch() / "object.json", "{\"values\": [" + list + "], \"units\": []}");
  write_file(scratch() / "plain.csv", list + "\n");
  write_file(scratch() / "lines.txt", lines);
  array_file("state.npy", values, {14});
  CHECK(program(run + image + "--state list.json --out list.npy").code == 0);
  for (const char* file : {"object.json", "plain.csv", "lines.txt", "state.npy"}) {
    CAPTURE(file);
    CHECK(program(run + image + "--out other.npy --state " + file).code == 0);
    CHECK(program("compare other.npy list.npy").code == 0);
  }
  write_file(scratch() / "named.csv", names + "\n" + list + "\n");
  CHECK(program(run + image + "--state named.csv").err.find("expected 'left_waist'") != std::string::npos);
  write_file(scratch() / "moved.json", "[9" + list.substr(list.find(',')) + "]");
  CHECK(program(run + image + "--state moved.json --out moved.npy").code == 0);
  CHECK(program("compare moved.npy list.npy").code == 1);
}

TEST_CASE("an image may be an array") {
  Array pixels(nervus::DType::u8, {20, 30, 3});
  for (std::size_t i = 0; i < pixels.bytes.size(); ++i) pixels.bytes[i] = static_cast<std::byte>(i % 251);
  write_arrays(scratch() / "pixels.npy", {{"pixels", pixels}});
  CHECK(program(run + "--state $examples/aloha/state.json --image cam_high=pixels.npy").code == 0);
  array_file("floats.npy", {1, 2, 3}, {1, 1, 3});
  const Outcome outcome = program(run + "--state $examples/aloha/state.json --image cam_high=floats.npy");
  CHECK(outcome.code == 3);
  CHECK(outcome.err.starts_with("nervus: error: floats.npy: "));
}

TEST_CASE("noise of a file stands for the seed's") {
  const std::string observed = run + image + "--state $examples/aloha/state.json ";
  array_file("zeros.npy", std::vector<float>(50 * 75), {50, 75});
  const Outcome zeros = program(observed + "--noise zeros.npy --out zeros.csv");
  CHECK(zeros.code == 0);
  CHECK(zeros.out.find("noise of zeros.npy") != std::string::npos);
  CHECK(program(observed + "--out seeded.csv").code == 0);
  CHECK(program("compare zeros.csv seeded.csv").code == 1);
  array_file("small.npy", {1, 2}, {1, 2});
  CHECK(program(observed + "--noise small.npy").code == 3);
  array_file("none.npy", {}, {0});
  CHECK(program(observed + "--noise none.npy").err == "nervus: error: none.npy: expected noise, found no values\n");

  const std::string tensors =
      "run --checkpoint $goldens/causal --inputs $goldens/causal/inputs.safetensors --steps 2 --quiet ";
  CHECK(program(tensors + "--out own.npy").code == 0);
  CHECK(program(tensors + "--noise $goldens/causal/inputs.safetensors --out same.npy").code == 0);
  CHECK(program(tensors + "--seed 5 --out seeded.npy").code == 0);
  CHECK(program("compare own.npy same.npy").code == 0);
  CHECK(program("compare own.npy seeded.npy").code == 1);
}

TEST_CASE("compare: every bit, or within a tolerance") {
  array_file("a.npy", {1, 2, 4}, {1, 3});
  array_file("b.npy", {1, 2, 4.25f}, {3});
  array_file("nan.npy", {1, NAN, 4}, {3});
  array_file("zero.npy", {0, 0, 0}, {3});
  array_file("negative.npy", {-0.0f, 0, 0}, {3});
  array_file("long.npy", {1, 2, 4, 8}, {4});
  const auto json = program("compare a.npy b.npy --json").json();
  CHECK(json["passed"] == false);
  CHECK(json["arrays"][0]["error"] == doctest::Approx(0.25));
  CHECK(json["arrays"][0]["relative_error"] == doctest::Approx(0.25 / 4.25));
  CHECK(json["arrays"][0]["worst"] == "[0, 2]");
  CHECK(program("compare a.npy b.npy --tolerance 0.06").code == 0);
  CHECK(program("compare a.npy b.npy --tolerance 0.05").code == 1);
  CHECK(program("compare a.npy b.npy --tolerance 0.001 --metric cosine").code == 0);
  CHECK(program("compare a.npy nan.npy --tolerance 1e9").code == 1);
  CHECK(program("compare nan.npy nan.npy").code == 0);
  CHECK(program("compare zero.npy negative.npy").code == 1);
  CHECK(program("compare zero.npy negative.npy --tolerance 1e-9").code == 0);
  CHECK(program("compare a.npy long.npy").out.find("shape: [1, 3] and [4]") != std::string::npos);
  write_arrays(scratch() / "two.safetensors",
               {{"x", Array::from(std::vector<float>{1}, {1})}, {"y", Array::from(std::vector<float>{2}, {1})}});
  write_arrays(scratch() / "one.safetensors", {{"x", Array::from(std::vector<std::int32_t>{1}, {1})}});
  const Outcome two = program("compare two.safetensors one.safetensors");
  CHECK(two.code == 1);
  CHECK(two.out.find("type: f32 and i32") != std::string::npos);
  CHECK(two.out.find("not in one.safetensors") != std::string::npos);
}
