// Every verb on the reference cases and on a small synthetic checkpoint.
#include <doctest/doctest.h>

#include <cmath>

#include "cli/program.h"
#include "nervus/array_file.h"

using nervus::test::interrupted;
using nervus::test::Outcome;
using nervus::test::program;
using nervus::test::read_file;
using nervus::test::scratch;
using nervus::test::write_file;
using nlohmann::json;

namespace {

const std::string observation =
    "--robot aloha --norm-stats $examples/aloha/norm_stats.json --state $examples/aloha/state.json "
    "--prompt 'pick up the red cube' --image cam_high=$examples/aloha/cam_high.png "
    "--image cam_left_wrist=$examples/aloha/cam_left_wrist.png ";

Outcome done(const Outcome& outcome) {
  INFO(outcome.out, outcome.err);
  CHECK(outcome.code == 0);
  return outcome;
}

}  // namespace

TEST_CASE("help, version and exit codes") {
  const Outcome help = done(program("--help"));
  for (const char* word : {"run", "serve", "replay", "verify", "inspect", "bench", "calibrate", "compare", "doctor",
                           "synth", "completion", "130"})
    CHECK(help.out.find(word) != std::string::npos);
  CHECK(done(program("--version")).out.starts_with("nervus 0.1.0 ("));
  for (const char* verb : {"run", "serve", "replay", "verify", "inspect", "bench", "calibrate", "compare", "doctor",
                           "synth", "completion"}) {
    const Outcome text = done(program(std::string(verb) + " --help"));
    CHECK(text.out.find("--json") != std::string::npos);
    CHECK(text.out.find("Example:\n") != std::string::npos);
    for (std::size_t begin = 0; begin < text.out.size();) {
      const std::size_t end = text.out.find('\n', begin);
      CHECK_MESSAGE(end - begin <= 120, text.out.substr(begin, end - begin));
      begin = end + 1;
    }
  }
}

TEST_CASE("run: an observation to actions and a plot") {
  const Outcome text = done(program("run --checkpoint tiny --steps 2 --quiet " + observation));
  CHECK(text.err.empty());
  CHECK(text.out.find("left_waist [rad]") != std::string::npos);
  CHECK(text.out.find("seed 0") != std::string::npos);
  CHECK(text.out.find("denoise") != std::string::npos);

  const json document =
      done(program("run --checkpoint tiny --steps 2 3 --json --seed 7 " + observation + "--out a.json --plot a.svg"))
          .json();
  CHECK(document["seed"] == 7);
  CHECK(document["robot"] == "aloha");
  REQUIRE(document["results"].size() == 2);
  CHECK(document["results"][1]["name"] == "actions.3");
  CHECK(document["results"][1]["shape"] == json({50, 14}));
  CHECK(document["results"][0]["units"][6] == "fraction open");
  CHECK_FALSE(document["results"][0].contains("values"));
  const json file = json::parse(read_file(scratch() / "a.json"));
  CHECK(file["results"][0]["values"].size() == 50);
  CHECK(file["results"][0]["values"][49].size() == 14);

  const std::string plot = read_file(scratch() / "a.svg");
  CHECK(plot.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  for (const char* word : {">Left<", ">Right<", ">forearm roll<", ">rad<", ">state now<", ">3 Euler steps<",
                           "left_gripper [fraction open]"})
    CHECK_MESSAGE(plot.find(word) != std::string::npos, word);
  CHECK(plot.find("nan") == std::string::npos);
}

TEST_CASE("run: tensors to actions") {
  const std::string base = "run --checkpoint $goldens/base --inputs $goldens/base/inputs.safetensors --precision f32 ";
  const json found = done(program(base + "--steps 10 25 --json --plot b.svg")).json();
  CHECK(found["results"][0]["shape"] == json({1, 50, 75}));
  CHECK(found["noise"] == read_file("/dev/null") + NERVUS_SOURCE_DIR "/tests/goldens/base/inputs.safetensors");
  CHECK(read_file(scratch() / "b.svg").find(">action_74<") != std::string::npos);
  done(program(base + "--steps 10 25 --out b.safetensors"));
  const std::string expected =
      "compare b.safetensors $goldens/base/expected.safetensors --names actions.10 actions.25 ";
  CHECK(done(program(expected + "--tolerance 1e-4")).out.find("pass") != std::string::npos);
  CHECK(program(expected).code == 1);
}

TEST_CASE("run: bitwise equal on every run and number of threads, in every file format") {
  for (const std::string precision : {"f32", "bf16"}) {
    const std::string run =
        "run --checkpoint tiny --steps 2 --seed 3 --quiet --precision " + precision + " " + observation;
    done(program(run + "--threads 1 --out one.safetensors"));
    done(program(run + "--threads 2 --out two.safetensors"));
    done(program(run + "--threads 3 --out three.json"));
    done(program(run + "--out again.csv"));
    CHECK(read_file(scratch() / "one.safetensors") == read_file(scratch() / "two.safetensors"));
    for (const char* other : {"two.safetensors", "three.json", "again.csv"}) {
      const Outcome same = done(program(std::string("compare one.safetensors ") + other));
      CHECK(same.out.find("identical") != std::string::npos);
    }
  }
  done(program("run --checkpoint tiny --steps 2 --seed 4 --quiet --out four.npy " + observation));
  CHECK(program("compare four.npy one.safetensors").code == 1);
}

TEST_CASE("verify: every reference case in both precisions") {
  for (const std::string name : {"base", "depth", "causal", "gated_batch"}) {
    for (const std::string precision : {"f32", "bf16"}) {
      const std::string paths =
          "--checkpoint $goldens/" + name + " --case $goldens/" + name + " --precision " + precision;
      const json document = done(program("verify --json " + paths)).json();
      CHECK(document["passed"] == true);
      CHECK(document["stages"].size() >= 8);
      CHECK(document["stages"].back()["tolerance"] > 0);
    }
  }
  const Outcome text = done(program("verify --checkpoint $goldens/base --case $goldens/base"));
  CHECK(text.out.find("prefix.*.key") == std::string::npos);
  CHECK(text.out.find("(worst layer)") != std::string::npos);
  CHECK(done(program("verify --all --checkpoint $goldens/base --case $goldens/base")).out.find("prefix.1.value  ") !=
        std::string::npos);
  CHECK(program("verify --checkpoint other --case $goldens/base",
                "cp -r $goldens/base other; cp $goldens/causal/model.safetensors other;")
            .code == 1);
}

TEST_CASE("inspect: a whole checkpoint and a broken one") {
  const json document = done(program("inspect tiny --json")).json();
  CHECK(document["family"] == "lingbot-vla");
  CHECK(document["missing"].empty());
  CHECK(document["work"].size() == 3);
  CHECK(document["weight_bytes"] > 0);
  CHECK(done(program("inspect tiny")).out.find("language") != std::string::npos);
  const Outcome broken = program("inspect broken",
                                 "mkdir broken; cp tiny/model.safetensors broken; sed 's/\"num_hidden_layers\": "
                                 "2/\"num_hidden_layers\": 3/' $goldens/base/config.json > broken/config.json;");
  CHECK(broken.code == 4);
}

TEST_CASE("calibrate: ranges of every linear, and how often samples exceed them") {
  const std::string inputs =
      "--steps 2 --inputs $examples/aloha --robot aloha --norm-stats $examples/aloha/norm_stats.json ";
  const json made = done(program("calibrate --checkpoint tiny --out c.json --percentile 99 --json " + inputs)).json();
  CHECK(made["samples"] == 1);
  const json file = json::parse(read_file(scratch() / "c.json"));
  CHECK(file["checkpoint"] == made["digest"]);
  CHECK(file["linears"].size() == made["linears"].size());
  const json checked = done(program("calibrate --checkpoint tiny --check c.json --json --quiet " + inputs)).json();
  REQUIRE(checked["linears"].size() == made["linears"].size());
  for (std::size_t i = 0; i < made["linears"].size(); ++i) {
    CHECK(checked["linears"][i]["beyond"] <= made["linears"][i]["beyond"]);
    CHECK(file["linears"][made["linears"][i]["linear"]] == made["linears"][i]["range"]);
  }
  CHECK(file["streams"].size() == made["streams"].size());
  CHECK(made["streams"].size() > 0);
  REQUIRE(checked["streams"].size() == made["streams"].size());
  for (const json& stream : checked["streams"]) CHECK(stream["beyond"] == 0);
  CHECK(done(program("calibrate --checkpoint tiny --check c.json " + inputs)).out.find(" %") != std::string::npos);
  const auto refused = [&](const std::string& arguments, int code) {
    const Outcome outcome = program("calibrate --checkpoint tiny " + arguments);
    CHECK(outcome.code == code);
    return outcome.err;
  };
  CHECK(refused(inputs, 2) == "nervus: error: give --out or --check, one of them\n");
  CHECK(refused(inputs + "--check c.json --percentile 77", 2) ==
        "nervus: error: --percentile excludes --check (see 'nervus calibrate --help')\n");
  CHECK(refused("--inputs $examples --out d.json", 3).find("expected .safetensors") != std::string::npos);
  CHECK(
      program("calibrate --checkpoint tiny --inputs half --out d.json", "mkdir half; echo go > half/prompt.txt;").err ==
      "nervus: error: half: expected at least one image, such as cam_high.png, found none\n");
  CHECK(program("run --checkpoint tiny --precision fp8 --calibration c.json --prompt x").code == 2);
  CHECK(program("verify --checkpoint $goldens/base --case $goldens/base --precision fp8").code == 5);
}

TEST_CASE("bench: latencies and the linears' share of peak") {
  const json document =
      done(program("bench --checkpoint $goldens/causal --steps 2 --runs 5 --warmup 1 --json --quiet")).json();
  const json& latency = document["results"][0]["latency_ms"];
  for (const char* stage : {"preprocess", "vision", "prefix", "denoise", "postprocess", "total"})
    CHECK(latency[stage]["p50"] <= latency[stage]["max"]);
  CHECK(latency["total"]["p95"] > 0);
  CHECK(document["commit"].is_string());
  CHECK(document["policies"][0]["peak_flops"] > 1e8);
  CHECK(document["policies"][0]["peak_bytes_per_second"] > 1e8);
  CHECK(document["policies"][0]["load_seconds"] > 0);
  CHECK(document["policies"][0]["graphs"] == 3);
  CHECK(document["device_state"]["unknown"] != "");
  for (const char* stage : {"vision", "prefix", "denoise"}) {
    CHECK(document["results"][0]["peaks"][stage]["flops"] > 0);
    CHECK(document["results"][0]["peaks"][stage]["times_floor"] > 0);
  }
  REQUIRE(!document["results"][0]["linears"].empty());
  for (const json& linear : document["results"][0]["linears"]) CHECK(linear["share_of_peak"] > 0);
  const Outcome text = done(
      program("bench --checkpoint $goldens/causal --inputs $goldens/causal/inputs.safetensors --steps 2 --runs 2"));
  CHECK(text.out.find("of peak") != std::string::npos);
}

TEST_CASE("bench: precisions and step counts take turns, beside a reference of their own") {
  const std::string bench =
      "bench --checkpoint $goldens/causal --steps 2 3 --runs 2 --warmup 0 --text 5 --json --quiet ";
  const json document = done(program(bench + "--precision f32 bf16 --pixels --kept-prefix --reference-precision f32 "
                                             "--reference-seeds 2 --reference-out reference.safetensors"))
                            .json();
  REQUIRE(document["results"].size() == 12);
  for (std::size_t i = 0; i < 12; ++i) {
    const json& result = document["results"][i];
    CHECK(result["steps"] == (i < 6 ? 2 : 3));
    CHECK(result["precision"] == (i % 6 < 3 ? "f32" : "bf16"));
    CHECK(result["images"] == (i % 3 == 1 ? "pixels" : "patches"));
    CHECK(result["kept_prefix"] == (i % 3 == 2));
    CHECK(result["latency_ms"].contains("vision") == (i % 3 != 2));
    CHECK(result["latency_ms"]["total"]["p99.9"] >= result["latency_ms"]["total"]["p50"]);
  }
  CHECK(document["inputs"]["valid_tokens"] == 5);
  CHECK(document["runs"] == 2);
  const json &exact = document["policies"][0]["accuracy"], &rounded = document["policies"][1]["accuracy"];
  CHECK(exact["seeds"] == 2);
  for (const char* name : {"actions.2", "actions.3", "prefix.embeddings", "prefix.keys", "prefix.values"}) {
    CHECK(exact[name]["error"] == 0);
    CHECK(rounded[name]["cosine"] > 0.999);
    CHECK(rounded[name]["error"] > 0);
  }
  REQUIRE(!rounded["actions.3"]["joints"].empty());
  for (const json& joint : rounded["actions.3"]["joints"]) CHECK(joint["mean"] <= joint["worst"]);

  const json again = done(program(bench + "--precision bf16 --reference reference.safetensors")).json();
  CHECK(again["policies"][0]["accuracy"]["actions.3"] == rounded["actions.3"]);
  CHECK(program("bench --checkpoint $goldens/causal --steps 4 --runs 1 --reference reference.safetensors").code == 3);
}

TEST_CASE("bench: calls of observations, from a camera's frames on") {
  const auto latencies = [](const std::string& batch) {
    const json document = done(program("bench --checkpoint tiny --steps 1 --runs 2 --warmup 0 --json --quiet --pixels "
                                       "--frames 640x480 " +
                                       batch))
                              .json();
    REQUIRE(document["results"].size() == 3);
    CHECK(document["results"][1]["images"] == "pixels");
    CHECK(document["results"][2]["images"] == "frames of 640x480");
    CHECK(document["results"][1].contains("peaks"));
    CHECK_FALSE(document["results"][2].contains("peaks"));  // of another instruction than the tensors'
    for (const json& result : document["results"]) {        // an observation's whole preprocessing is in both
      const json& latency = result["latency_ms"];
      CHECK(latency["preprocess"]["max"] > 0);
      CHECK(latency["total"]["max"] > latency["preprocess"]["max"]);
    }
  };
  latencies("");
  latencies("--batch 2");
}

TEST_CASE("bench: random tokens are of the checkpoint's vocabulary, however small") {
  for (const char* name : {"depth_causal_batch", "odd_one_view", "joint_four_views"})
    done(program(std::string("bench --runs 1 --warmup 0 --quiet --steps 1 --checkpoint $goldens/") + name));
}

TEST_CASE("bench: the file that run wrote is a reference for the same inputs and seed") {
  const std::string inputs = "--checkpoint $goldens/causal --inputs $goldens/causal/inputs.safetensors --steps 2 ";
  done(program("run --precision f32 --seed 5 --out run.safetensors " + inputs));
  const json own = done(program("bench --runs 1 --warmup 0 --json --quiet --precision f32 --seed 5 --reference "
                                "run.safetensors " +
                                inputs))
                       .json();
  CHECK(own["policies"][0]["accuracy"]["actions.2"]["error"] == 0);

  auto spoiled = nervus::read_arrays(scratch() / "run.safetensors");
  spoiled.at("actions.2").data<float>()[3] = NAN;
  nervus::write_arrays(scratch() / "spoiled.safetensors", spoiled);
  const json accuracy = done(program("bench --runs 1 --warmup 0 --json --quiet --precision f32 --seed 5 --reference "
                                     "spoiled.safetensors " +
                                     inputs))
                            .json()["policies"][0]["accuracy"]["actions.2"];
  CHECK(accuracy["error"].is_null());  // infinity
  CHECK(accuracy["cosine"] == 0);
}

TEST_CASE("bench: what excludes each other, or is missing, is refused") {
  const auto refused = [](const std::string& arguments) {
    const Outcome outcome = program("bench --checkpoint $goldens/causal " + arguments);
    CHECK(outcome.code != 0);
    return outcome.err;
  };
  CHECK(refused("--precision bf16 bf16") == "nervus: error: --precision: bf16 is given twice\n");
  CHECK(refused("--attention fast").find("has one attention kernel") != std::string::npos);
  CHECK(refused("--plan a.plan").find("plan 'a.plan': device 'cpu' has no choices to keep") != std::string::npos);
  CHECK(refused("--text 4096").find("--text: expected at most ") != std::string::npos);
  CHECK(refused("--inputs x --text 3") ==
        "nervus: error: --inputs says what the tensors are: it excludes --text, --batch, --max-batch, --pixels "
        "and --frames\n");
  for (const char* frames : {"640", "640x", "0x480", "640x480x3", "640x9000"})
    CHECK(refused(std::string("--frames ") + frames) ==
          std::string("nervus: error: --frames: expected WIDTHxHEIGHT of 1 to 8192 pixels each, such as 640x480, found "
                      "'") +
              frames + "'\n");
  CHECK(refused("--reference-out a.npy") ==
        "nervus: error: --reference-out and --reference-device go with --reference-precision\n");
  CHECK(refused("--batch 2 --max-batch 1") == "nervus: error: --max-batch: expected at least --batch (2), found 1\n");
  CHECK(refused("--reference-seeds 2") ==
        "nervus: error: --reference-seeds requires --reference-precision (see 'nervus bench --help')\n");
  CHECK(refused("--reference none.npy").find("none.npy") != std::string::npos);
}

TEST_CASE("bench: nothing is left of a file that it had begun to write when interrupted") {
  const std::filesystem::path directory = scratch() / "left", file = directory / "reference.safetensors";
  std::filesystem::create_directories(directory);
  const auto begin = [&](int process) { write_file(file.string() + ".partial-" + std::to_string(process), "half"); };
  CHECK(interrupted({"bench", "--checkpoint", (scratch() / "tiny").string(), "--steps", "1", "--reference-precision",
                     "f32", "--reference-seeds", "1", "--reference-out", file.string(), "--runs", "1000000"},
                    file, begin) == 130);
  for (const auto& entry : std::filesystem::directory_iterator(directory)) CHECK(entry.path() == file);
}

TEST_CASE("doctor: the machine, and a checkpoint on it") {
  const Outcome found = program("doctor --checkpoint tiny --json");
  CHECK((found.code == 0 || found.code == 5));
  const json document = found.json();
  CHECK(document["usable"] == (found.code == 0));
  CHECK(document["findings"].size() >= 9);
  CHECK(program("doctor").out.find("cuda") != std::string::npos);
  const json part = program("doctor --checkpoint part --json",
                            "mkdir part; cp tiny/model.safetensors part; cp $goldens/base/config.json part;")
                        .json();
  CHECK(part["usable"] == false);
  CHECK(part["findings"].back()["what"] == "checkpoint");  // what a broken one needs is not known
}

TEST_CASE("synth: the same bytes from the same seed, and nothing left when interrupted") {
  done(program("synth --preset tiny --seed 1 --threads 1 --out again --json"));
  done(program("synth --preset tiny --seed 2 --dtype bf16 --outliers --out outliers"));
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json", "norm_stats.json"})
    CHECK(read_file(scratch() / "again" / file) == read_file(scratch() / "tiny" / file));
  CHECK(done(program("inspect outliers --json")).json()["formats"].contains("bf16"));

  const std::filesystem::path large = scratch() / "interrupted";
  std::filesystem::create_directories(large);
  CHECK(interrupted({"synth", "--preset", "lingbot-vla-4b", "--out", (large / "model").string()}, large / ".model") ==
        130);
  CHECK(std::filesystem::is_empty(large));
}
