// Wrong command lines and inputs: the exact message and exit code of each.
#include <doctest/doctest.h>

#include "cli/program.h"

using nervus::test::Outcome;
using nervus::test::program;
using nervus::test::scratch;
using nervus::test::write_file;

namespace {

struct Wrong {
  std::string arguments;
  int code;
  std::string message;  // behind "nervus: error: "
};

// The rest of a run on an observation, whose last option is left to the case.
const std::string observed = "run --checkpoint tiny --prompt hi --image cam_high=$examples/aloha/cam_high.png ";
const std::string tensors = "run --checkpoint $goldens/base --inputs $goldens/base/inputs.safetensors ";

void write_files() {
  std::filesystem::create_directories(scratch() / "beside");
  write_file(scratch() / "beside" / "tokenizer.json", "{}");
  write_file(scratch() / "text.json", "[1, 2, \"x\"]");
  write_file(scratch() / "none.json", "{\"a\": 1}");
  write_file(scratch() / "bad.json", "{bad");
  write_file(scratch() / "three.json", "[1, 2, 3]");
  write_file(scratch() / "empty.json", "[]");
  write_file(scratch() / "huge.json", "[1e39]");
  write_file(scratch() / "names.json", "{\"state\": [1, 2], \"names\": [\"a\"]}");
  write_file(
      scratch() / "swapped.json",
      "{\"values\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0], \"names\": [\"left_shoulder\",\"left_waist\",\"c\",\"d\",\"e\","
      "\"f\",\"g\",\"h\",\"i\",\"j\",\"k\",\"l\",\"m\",\"n\"]}");
  write_file(scratch() / "word.txt", "1 2 x");
  write_file(scratch() / "short.csv", "a,b\n1\n");
  write_file(scratch() / "hi.png", "hi\n");
  write_file(scratch() / "other.csv", "x,y\n1,2\n");
  write_file(scratch() / "word.csv", "step,y\n0,2\n1,q\n");
  write_file(scratch() / "uneven.csv", "step,y\n0,2\n1,2,3\n");
  write_file(scratch() / "order.csv", "batch,step,y\n0,0,1\n1,0,2\n0,1,3\n");
  write_file(scratch() / "nothing.json", "{\"results\": []}");
  write_file(scratch() / "shape.json", "{\"results\": [{\"name\": \"a\", \"shape\": [2], \"values\": [1]}]}");
}

const std::vector<Wrong> command_lines = {
    {"rum", 2, "unknown verb 'rum': did you mean 'run'? (see 'nervus --help')"},
    {"banana", 2, "unknown verb 'banana' (see 'nervus --help')"},
    {"--verison", 2, "unknown option '--verison': did you mean '--version'? (see 'nervus --help')"},
    {"run --chekpoint tiny", 2,
     "unknown option '--chekpoint' of 'nervus run': did you mean '--checkpoint'? (see 'nervus run --help')"},
    {"run --prec f32", 2,
     "unknown option '--prec' of 'nervus run': did you mean '--precision'? (see 'nervus run --help')"},
    {"run -x", 2, "unknown option '-x' of 'nervus run' (see 'nervus run --help')"},
    {"run", 2, "--checkpoint is required (see 'nervus run --help')"},
    {"run --checkpoint", 2, "--checkpoint: expected a value DIR (see 'nervus run --help')"},
    {"run --checkpoint tiny", 2, "give --inputs, or --image, --state and --prompt"},
    {"run --checkpoint a --checkpoint b", 2, "--checkpoint: given more than once (see 'nervus run --help')"},
    {"run --checkpoint tiny --inputs a --state b", 2,
     "--inputs and an observation (--image, --state, --prompt) exclude each other"},
    {"run --checkpoint tiny --prompt hi --state a", 2, "an observation needs at least one --image CAMERA=FILE"},
    {"run --checkpoint tiny --prompt hi --image a=b", 2, "an observation needs --state FILE"},
    {"run --checkpoint tiny --state a --image a=b", 2, "an observation needs --prompt TEXT"},
    {tensors + "--steps ten", 2, "--steps: expected an integer from 1 to 1000, found 'ten' (see 'nervus run --help')"},
    {tensors + "--steps 1001", 2,
     "--steps: expected an integer from 1 to 1000, found '1001' (see 'nervus run --help')"},
    {tensors + "--steps 10 10", 2, "--steps: 10 is given twice"},
    {tensors + "--precision f31", 2,
     "--precision: expected f32, bf16, f16, fp8 or int8, found 'f31': did you mean 'f32'? (see 'nervus run --help')"},
    {tensors + "--attention slow", 2,
     "--attention: expected auto, fast or plain, found 'slow' (see 'nervus run --help')"},
    {tensors + "--threads -1", 2,
     "--threads: expected an integer from 0 to 1024, found '-1' (see 'nervus run --help')"},
    {tensors + "--seed -1", 2,
     "--seed: expected an integer from 0 to 18446744073709551615, found '-1' (see 'nervus run --help')"},
    {tensors + "--seed 010", 2,
     "--seed: expected an integer from 0 to 18446744073709551615, found '010' (see 'nervus run --help')"},
    {tensors + "--time-grid bf16", 2,
     "--time-grid: expected exact or bf16-accumulated, found 'bf16': did you mean 'bf16-accumulated'? (see 'nervus run "
     "--help')"},
    {tensors + "--noise a --seed 1", 2, "--noise and --seed exclude each other"},
    {tensors + "--robot aloha", 2,
     "--robot goes with an observation: the actions of --inputs stay in the model's units"},
    {tensors + "--normalization std", 2,
     "--norm-stats and --normalization need --robot, which says whose joints they are"},
    {tensors + "--out a.txt", 2, "--out: a.txt: expected a name ending in .safetensors, .npy, .csv or .json"},
    {tensors + "--out a.npy --steps 1 2", 2,
     "--out: a.npy: a .npy file holds one result, and --steps asks for 2: write .safetensors or .json"},
    {tensors + "--plot a.png", 2, "--plot: a.png: expected a name ending in .svg"},
    {tensors + "--out nowhere/a.json", 6, "nowhere/a.json: cannot be written: there is no directory nowhere"},
    {tensors + "--plan a.plan", 5,
     "plan 'a.plan': device 'cpu' has no choices to keep, its sums are the same in every load: leave the option out, "
     "or use another device"},
    {"inspect tiny --plan", 2, "--plan: expected a value FILE (see 'nervus inspect --help')"},
    {tensors + "--device gpu", 2, "device 'gpu': expected cpu, cuda or cuda:N"},
    {tensors + "--device cuda:-1", 2, "device 'cuda:-1': expected cpu, cuda or cuda:N"},
    {"verify --checkpoint tiny", 2, "--case is required (see 'nervus verify --help')"},
    {"inspect tiny extra", 2, "unexpected argument 'extra' (see 'nervus inspect --help')"},
    {"compare a.json", 2, "B is required (see 'nervus compare --help')"},
    {"compare a b --tolerance -1", 2,
     "--tolerance: expected a number not below 0, found '-1' (see 'nervus compare --help')"},
    {"bench --checkpoint tiny --runs 0", 2,
     "--runs: expected an integer from 1 to 1000000, found '0' (see 'nervus bench --help')"},
    {"synth --preset tiny --out tiny", 2, "--out: tiny already holds config.json: name another directory"},
    {"synth --preset tiny --out beside", 2, "--out: beside already holds tokenizer.json: name another directory"},
    {"synth --preset tini --out x", 2,
     "--preset: expected tiny or lingbot-vla-4b, found 'tini': did you mean 'tiny'? (see 'nervus synth --help')"},
    {"synth --out nowhere/x", 6, "nowhere/x: cannot be written: there is no directory nowhere"},
    {"synth --out three.json", 2, "--out: three.json: expected a directory, found a file"},
    {"completion csh", 2,
     "SHELL: expected bash, zsh or fish, found 'csh': did you mean 'zsh'? (see 'nervus completion --help')"},
};

const std::vector<Wrong> inputs = {
    {"run --checkpoint tiny --inputs nothing.npy", 6, "nothing.npy: cannot be opened: No such file or directory"},
    {"calibrate --checkpoint tiny --out c.json --inputs " + std::string(300, 'a'), 6,
     std::string(300, 'a') + ": cannot be opened: File name too long"},
    {"run --checkpoint nowhere --inputs $goldens/base/inputs.safetensors", 6,
     "nowhere: expected a checkpoint directory, found nothing there"},
    {tensors + "--noise tiny/model.safetensors", 3,
     "tiny/model.safetensors: expected one array or one named 'noise', found 195 others"},
    {observed + "--state text.json", 3, "text.json: value 2: expected a number, found \"x\""},
    {observed + "--state none.json", 3, "none.json: expected a field 'state' with a list of numbers"},
    {observed + "--state bad.json", 3, "bad.json: is not valid JSON"},
    {observed + "--state empty.json", 3, "empty.json: holds no values"},
    {observed + "--state huge.json", 3, "huge.json: value 0: is not finite"},
    {observed + "--state names.json", 3, "names.json: field 'names': expected a list of one text for each value"},
    {observed + "--state word.txt", 3, "word.txt: value 2: expected a number, found 'x'"},
    {observed + "--state short.csv", 3, "short.csv: expected one value for each of 2 names, found 1"},
    {observed + "--state a.yaml", 3, "a.yaml: expected a state file ending in .json, .npy, .csv or .txt"},
    {observed + "--state missing.json", 6, "missing.json: cannot be read: check that it exists and may be read"},
    {observed + "--robot aloha --state three.json", 3,
     "state: expected 14 values for robot 'aloha' (left_waist ... right_gripper), found 3"},
    {observed + "--robot aloha --steps 1 --state swapped.json", 3,
     "swapped.json: names[0]: expected 'left_waist', which robot 'aloha' has there, found 'left_shoulder'"},
    {observed + "--robot alhoa --state three.json", 2, "robot: expected one of aloha, robotwin; found 'alhoa'"},
    {observed + "--state three.json --image cam_high", 2,
     "--image: expected CAMERA=FILE, such as cam_high=high.png, found 'cam_high'"},
    {observed + "--state three.json --image cam_high=hi.png", 2, "--image: cam_high is given twice"},
    {observed + "--state three.json --image cam_left=$examples/aloha/cam_high.png", 3,
     "camera 'cam_left': expected one of cam_high, cam_left_wrist, cam_right_wrist"},
    {observed + "--state three.json --image cam_left_wrist=hi.png", 3,
     "hi.png: expected a PNG or JPEG image, found a file that begins with the bytes 68 69 0a"},
    {"run --checkpoint tiny --inputs nowhere", 6, "nowhere: cannot be opened: No such file or directory"},
    {"inspect nowhere", 6, "nowhere: expected a checkpoint directory, found nothing there"},
    {"doctor --checkpoint nowhere", 6, "nowhere: expected a checkpoint directory, found nothing there"},
    {"compare other.csv other.csv", 3,
     "other.csv: line 1 does not begin with 'step,': expected a file that 'nervus run --out' wrote"},
    {"compare word.csv word.csv", 3,
     "word.csv: line 3: expected a number, found 'q': expected a file that 'nervus run --out' wrote"},
    {"compare uneven.csv uneven.csv", 3,
     "uneven.csv: line 3: expected 1 values, found 2: expected a file that 'nervus run --out' wrote"},
    {"compare order.csv order.csv", 3,
     "order.csv: line 3: expected batch 0 and step 1: expected a file that 'nervus run --out' wrote"},
    {"compare nothing.json nothing.json", 3, "nothing.json and nothing.json: expected arrays to compare, found none"},
    {"compare shape.json shape.json", 3,
     "shape.json: 'values' does not have the shape [2]: expected a file that 'nervus run --out' wrote"},
    {"compare none.json none.json", 3,
     "none.json: key 'results' not found: expected a file that 'nervus run --out' wrote"},
};

void check_all(const std::vector<Wrong>& table) {
  write_files();
  for (const Wrong& wrong : table) {
    CAPTURE(wrong.arguments);
    const Outcome outcome = program(wrong.arguments);
    CHECK(outcome.code == wrong.code);
    CHECK(outcome.err == "nervus: error: " + wrong.message + "\n");
    CHECK(outcome.out.empty());
  }
}

}  // namespace

TEST_CASE("wrong command lines") { check_all(command_lines); }

TEST_CASE("wrong inputs") { check_all(inputs); }

TEST_CASE("errors as JSON, and outputs that cannot be written") {
  const Outcome outcome = program("run --json --checkpoint nowhere --inputs $goldens/base/inputs.safetensors");
  CHECK(outcome.code == 6);
  CHECK(outcome.json()["error"]["kind"] == "io");
  CHECK(outcome.json()["error"]["message"] == "nowhere: expected a checkpoint directory, found nothing there");
  CHECK(outcome.json()["error"]["exit_code"] == 6);
  CHECK(outcome.err.find("nervus: error: nowhere") != std::string::npos);

  const Outcome full = program("doctor > /dev/full");
  CHECK(full.code == 6);
  CHECK(full.err == "nervus: error: standard output: cannot be written\n");

  for (const char* out : {"--out pipe.npy", "--out pipe.json", "--plot pipe.svg"}) {
    const Outcome pipe = program(tensors + out, "mkfifo -m 600 pipe.npy pipe.json pipe.svg 2> /dev/null;");
    CHECK(pipe.code == 6);
    CHECK(pipe.err.ends_with(": cannot be written: expected a file, found a pipe, socket or device\n"));
  }

  const Outcome none = program("");
  CHECK(none.code == 2);
  CHECK(none.err.find("Usage: nervus VERB") != std::string::npos);
}
