// Which kernel computes a product: measured once in a process, kept as text. The text is tested on the host.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <sstream>
#include <thread>

#include "backends/cuda/choices.h"
#include "lab.h"
#include "nervus/error.h"

namespace nervus::cuda {
namespace {

const ChoiceIdentity identity = {{"device", "GPU, sm_90, 132 SMs"}, {"kernels", "0f"}};
const WideTile tile = wide_add_tiles[1];

Choice algorithm(unsigned char first, bool apart = false) {
  Choice choice{.kernel = Choice::Kernel::library, .apart = apart, .candidates = 8, .nanoseconds = 12345};
  choice.algorithm[0] = first, choice.algorithm[63] = 0xa0;
  return choice;
}

const ChoiceMap some = {
    {"linear 64 32 1 f32 f32 2", {}},
    {"linear 64 32 2 bf16 f32 5", {.kernel = Choice::Kernel::tile, .tile = tile, .nanoseconds = 5900}},
    {"linear 64 32 2 bf16 bf16 2", algorithm(7)},
    {"linear 64 32 2 f8_e4m3 f32 4", algorithm(8, true)},
    {"qkv 64 32 2 bf16", {.kernel = Choice::Kernel::tile, .tile = wide_qkv_tiles[2], .nanoseconds = 1}},
    {"qkv 64 32 9 bf16", {.kernel = Choice::Kernel::tile, .tile = wide_qkv_tiles[4], .nanoseconds = 1}}};

std::pair<ErrorKind, std::string> refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::internal, "none"};
}

std::pair<ErrorKind, std::string> refusal_of(const std::string& text, const ChoiceIdentity& expected = identity) {
  return refusal([&] { read_choices(text, "a.plan", expected); });
}

// What is said of a plan that is whole, and has this line.
std::string said_of(const std::string& line) {
  const auto [kind, message] = refusal_of(write_choices({{"device", "one\n" + line}}, {}), {{"device", "one"}});
  CHECK(kind == (message == "none" ? ErrorKind::internal : ErrorKind::checkpoint));
  return message;
}

TEST_CASE("choices are written and read back the same, a line for each shape") {
  const std::string text = write_choices(identity, some);
  CHECK(text.starts_with("nervus plan 1\ndevice GPU, sm_90, 132 SMs\nkernels 0f\nlinear 64 32 1 f32 f32 2 = plain\n"));
  CHECK(text.find("\nlinear 64 32 2 bf16 f32 5 = tile 128 64 2 1 2 5900\n") != std::string::npos);
  CHECK(text.find("\nlinear 64 32 2 bf16 bf16 2 = library 8 12345 0700") != std::string::npos);
  CHECK(text.find("00a0\nlinear 64 32 2 bf16 f32 5 = tile ") != std::string::npos);
  CHECK(text.find("\nlinear 64 32 2 f8_e4m3 f32 4 = library-sums 8 12345 0800") != std::string::npos);
  CHECK(read_choices(text, "a.plan", identity) == some);
  CHECK(read_choices(write_choices(identity, {}), "a.plan", identity).empty());
}

TEST_CASE("a plan in which a byte has changed, or that is cut short, is refused") {
  const std::string text = write_choices(identity, some);
  for (std::size_t i = 0; i < text.size(); ++i) {
    CAPTURE(i);
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 1);
    CHECK(refusal_of(other).first == ErrorKind::checkpoint);
    CHECK(refusal_of(text.substr(0, i)).first == ErrorKind::checkpoint);
  }
  CHECK(refusal_of(text + "\n").first == ErrorKind::checkpoint);
  CHECK(refusal_of("{\"version\": 1}").second ==
        "a.plan: expected a plan, whose first line is 'nervus plan 1', found another: give the file that a load with "
        "this option wrote, or one that is not there yet");
  CHECK(refusal_of(text.substr(0, 40)).second ==
        "a.plan: its last line is not the checksum of those before it: the plan is damaged: delete it, so that it is "
        "made anew, or give another file");
}

TEST_CASE("a plan of another device or build is refused with what was expected and found") {
  for (std::size_t i = 0; i < identity.size(); ++i) {
    ChoiceIdentity other = identity;
    other[i].second += "x";
    CHECK(refusal_of(write_choices(identity, some), other) ==
          std::pair{ErrorKind::unsupported, "a.plan: this plan was made by another device or build: expected '" +
                                                identity[i].first + " " + other[i].second + "', found '" +
                                                identity[i].first + " " + identity[i].second +
                                                "': delete it, so that it is made anew, or give another file"});
  }
  CHECK(refusal_of(write_choices({}, {}), identity).first == ErrorKind::unsupported);
}

TEST_CASE("every field of a plan is checked") {
  const std::string algorithm_bytes(128, '0');
  CHECK(said_of("linear 1 = plain") == "none");
  CHECK(said_of("linear 1 = tile 128 64 2 1 2 1") == "none");
  CHECK(said_of("linear 1 = library 1 1 " + algorithm_bytes) == "none");
  CHECK(said_of("qkv 1 = persistent-tile 128 128 2 1 1 1") == "none");
  CHECK(said_of("linear 1 = plane") ==
        "a.plan, line 3: expected a kernel that there is, found ' = plane': the plan is damaged: delete it, so that it "
        "is made anew, or give another file");
  CHECK(said_of("linear 1 = plain\nlinear 1 = plain").find("line 4: 'linear 1' is there twice") != std::string::npos);
  for (const char* line : {"", " = plain", "linear 1", "linear 1 =plain", "other 1 = plain", "linear1 = plain"})
    CHECK(said_of(line).find("line 3: expected a shape and its choice, found '") != std::string::npos);
  CHECK(said_of("linear " + std::string(200, '1') + " = plain").find("expected a shape") != std::string::npos);
  for (const std::string& line : std::vector<std::string>{"qkv 1 = plain",
                                                          "linear 1 = plain 1",
                                                          "linear 1 = ",
                                                          "linear 1 = tile",
                                                          "linear 1 = tile 128 64 2 1 2",
                                                          "linear 1 = tile 128 64 2 1 2 1 1",
                                                          "linear 1 = tile 128 64 2 1 3 1",
                                                          "linear 1 = tile 128 64 2 1 2 -1",
                                                          "linear 1 = tile 128 64 2 1 2 x",
                                                          "linear 1 = tile 128 64 2 1 2 1000000000001",
                                                          "qkv 1 = tile 128 64 2 1 2 1",
                                                          "qkv 1 = tile 128 128 2 1 1 1",
                                                          "qkv 1 = persistent-tile 128 192 2 1 1 1",
                                                          "gate_up 1 = library 1 1 " + algorithm_bytes,
                                                          "linear 1 = library 1 " + algorithm_bytes,
                                                          "linear 1 = library 1 1 " + algorithm_bytes + "00",
                                                          "linear 1 = library 1 1 " + algorithm_bytes.substr(1),
                                                          "linear 1 = library 1 1 x" + algorithm_bytes.substr(1),
                                                          "linear 1 = library 99999999999 1 " + algorithm_bytes,
                                                          "linear 1 = libraries 1 1 " + algorithm_bytes}) {
    CAPTURE(line);
    CHECK(said_of(line).find("line 3: expected a kernel that there is, found '") != std::string::npos);
  }
}

bool fits(const Choice&) { return true; }
Choice none() { throw Error(ErrorKind::device, "measured"); }

TEST_CASE("what one device has measured, the next one of its kind takes over") {
  const ChoiceIdentity kind = {{"device", "first test"}};
  Choices first(kind), second(kind), other(ChoiceIdentity{{"device", "first test, of another kind"}});
  CHECK(first.choose("linear 1", fits, [] { return algorithm(1); }) == algorithm(1));
  CHECK(second.choose("linear 1", fits, none) == algorithm(1));
  CHECK(other.choose("linear 1", fits, [] { return algorithm(2); }) == algorithm(2));
  CHECK(first.text() == second.text());
  CHECK(first.summary() == "choices: 1 measured now, 0 measured before in this process");
  CHECK(second.summary() == "choices: 0 measured now, 1 measured before in this process");
  Choices third(kind);  // what does not fit is measured
  CHECK(third.choose(
            "linear 1", [](const Choice&) { return false; }, [] { return algorithm(3); }) == algorithm(3));
  CHECK(first.choose("linear 1", fits, none) == algorithm(1));
}

TEST_CASE("a measurement that fails leaves nothing, and the next device measures") {
  const ChoiceIdentity kind = {{"device", "second test"}};
  Choices first(kind), second(kind);
  CHECK(refusal([&] { first.choose("linear 1", fits, none); }) ==
        std::pair{ErrorKind::device, std::string("measured")});
  CHECK(first.text() == write_choices(kind, {}));
  CHECK(second.choose("linear 1", fits, [] { return algorithm(1); }) == algorithm(1));
  CHECK(first.choose("linear 1", fits, none) == algorithm(1));
}

TEST_CASE("devices that meet a shape at once measure it once") {
  const ChoiceIdentity kind = {{"device", "third test"}};
  std::atomic<int> measured = 0;
  std::vector<Choice> found(8);
  std::vector<std::thread> threads;
  for (Choice& choice : found) {
    threads.emplace_back([&] {
      Choices choices(kind);
      choice = choices.choose("linear 1", fits, [&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return algorithm(static_cast<unsigned char>(++measured));
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(measured == 1);
  for (const Choice& choice : found) CHECK(choice == algorithm(1));
}

TEST_CASE("a file's choices come before those of the process, must fit, and stay in the text though nothing met them") {
  const ChoiceIdentity kind = {{"device", "fourth test"}};
  Choices first(kind), second(kind), third(kind);
  first.choose("linear 1", fits, [] { return algorithm(1); });
  const ChoiceMap kept = {{"linear 1", algorithm(5)}, {"linear 2", algorithm(6)}};
  second.use(write_choices(kind, kept), "a.plan");
  CHECK(second.choose("linear 1", fits, none) == algorithm(5));
  CHECK(second.text() == write_choices(kind, kept));
  CHECK(second.summary() == "choices: 0 measured now, 0 measured before in this process, 1 read from a.plan");
  const auto [error, message] = refusal([&] {
    second.choose(
        "linear 2", [](const Choice&) { return false; }, none);
  });
  CHECK(error == ErrorKind::checkpoint);
  CHECK(message.starts_with("a.plan: the device cannot compute 'linear 2' with 'library 8 12345 06"));
  CHECK(message.ends_with("': the plan is damaged: delete it, so that it is made anew, or give another file"));
  first.use(write_choices(kind, kept), "a.plan");  // what is in use stays
  CHECK(first.text() == write_choices(kind, {{"linear 1", algorithm(1)}, {"linear 2", algorithm(6)}}));
  CHECK(third.choose("linear 1", fits, none) == algorithm(1));
  CHECK(refusal([&] { third.use("", "b.plan"); }).second.starts_with("b.plan: expected a plan"));
  CHECK(refusal([&] { third.use(write_choices(identity, {}), "b.plan"); }).first == ErrorKind::unsupported);
}

// ---- on a device

// Linears whose shapes nothing else in this program has: one alone, one that adds, one that adds with a gate.
struct Products {
  Products(Lab& lab, std::int64_t rows)
      : lab(lab),
        up(lab.linear(256, 512, true)),
        down(lab.linear(512, 256, true, true)),
        x(lab.input(lab.activation(), rows, 256)),
        gate(lab.input(DType::f32, 1, 256)),
        start(lab.random_values(rows * 256, 1.0f)),
        y(lab.output(lab.activation(), rows, 512)),
        h(lab.output(DType::f32, rows, 256)) {}

  std::vector<float> run() {
    lab.device().upload(h, start.data());
    lab.kernels().linear(y, encoded(x, up), up);
    const Tensor z = encoded(y, down);
    lab.kernels().linear_add(h, z, down, {});
    lab.kernels().linear_add(h, z, down, gate);
    return lab.values(h);
  }

  Tensor encoded(const Tensor& from, const Linear& w) {
    if (w.input.dtype == from.dtype) return from;
    const Tensor to = w.input.dtype == DType::i8 ? lab.int8_output(from.rows, from.columns)
                                                 : lab.scaled_output(w.input.dtype, from.rows, from.columns);
    lab.kernels().gather_rows(to, from, {});
    return to;
  }

  Lab& lab;
  Linear up, down;
  Tensor x, gate;
  std::vector<float> start;
  Tensor y, h;
};

// Each precision, and each format of a recipe that the device has.
struct Kind {
  Precision precision;
  std::optional<DType> format;

  std::unique_ptr<Device> device() const {
    auto made = make_cuda_device(precision, 0);
    if (format) made->use_formats({{"weight", held(*format)}});
    return made;
  }
};

std::vector<Kind> kinds() {
  const auto device = cuda_or_skip(Precision::bf16);
  if (!device) return {};
  std::vector<Kind> all = {{Precision::f32, {}}, {Precision::bf16, {}}};
  for (const DType format : {DType::f16, DType::e4m3, DType::i8})
    if (device->multiplies(format)) all.push_back({Precision::bf16, format});
  return all;
}

struct Found {
  std::string summary, choices;
  std::vector<std::string> plan;
  std::vector<float> values;
};

Found run_on(Device& device, std::int64_t rows) {
  Lab lab(device, 31);
  Products products(lab, rows);
  Found found{.values = products.run()};
  found.plan = device.plan();
  found.choices = device.choices();
  found.summary = found.plan.front();
  found.plan.erase(found.plan.begin());
  return found;
}

ChoiceIdentity identity_in(const std::string& text) {
  ChoiceIdentity found;
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && !line.starts_with("linear ")) {
    const std::size_t space = line.find(' ');
    found.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return found;
}

TEST_CASE("cuda choices: a second device of one process measures nothing, has the same plan, computes the same bits") {
  for (const Kind& kind : kinds()) {
    const Found measured = run_on(*kind.device(), 171), again = run_on(*kind.device(), 171);
    CHECK(measured.summary == "choices: 3 measured now, 0 measured before in this process");
    CHECK(again.summary == "choices: 0 measured now, 3 measured before in this process");
    CHECK(measured.plan.size() == 3);
    CHECK(again.plan == measured.plan);
    CHECK(again.choices == measured.choices);
    CHECK(same_bits(again.values, measured.values));
  }
}

TEST_CASE("cuda choices: devices that meet shapes at once measure each once") {
  if (!cuda_or_skip(Precision::bf16)) return;
  std::vector<Found> found(4);
  std::vector<std::thread> threads;
  for (Found& one : found) threads.emplace_back([&one] { one = run_on(*make_cuda_device(Precision::bf16, 0), 173); });
  for (std::thread& thread : threads) thread.join();
  int measured = 0;
  for (const Found& one : found) {
    measured += std::stoi(one.summary.substr(std::string("choices: ").size()));
    CHECK(one.plan == found[0].plan);
    CHECK(same_bits(one.values, found[0].values));
  }
  CHECK(measured == 3);
}

TEST_CASE("cuda choices: those of a text are computed by, other ones than were measured too") {
  for (const Kind& kind : kinds()) {
    const Found measured = run_on(*kind.device(), 177);
    const ChoiceIdentity own = identity_in(measured.choices);
    CHECK(own.size() == 5);
    ChoiceMap choices = read_choices(measured.choices, "a.plan", own);
    REQUIRE(choices.size() == 3);

    const auto same = kind.device();
    same->use_choices(measured.choices, "a.plan");
    const Found read = run_on(*same, 177);
    CHECK(read.summary == "choices: 0 measured now, 0 measured before in this process, 3 read from a.plan");
    CHECK(read.plan == measured.plan);
    CHECK(read.choices == measured.choices);
    CHECK(same_bits(read.values, measured.values));

    for (auto& [shape, choice] : choices) choice = {};
    const auto plain = kind.device();
    plain->use_choices(write_choices(own, choices), "b.plan");
    const Found other = run_on(*plain, 177);
    for (const std::string& line : other.plan) CHECK(line.ends_with(": plain kernel"));
    REQUIRE(other.values.size() == measured.values.size());
    for (std::size_t i = 0; i < other.values.size(); ++i)
      if (!(std::abs(other.values[i] - measured.values[i]) < 0.2f))
        CHECK(other.values[i] == doctest::Approx(measured.values[i]));
    CHECK(run_on(*kind.device(), 177).plan == measured.plan);  // another's file changes nothing here

    // Tiles and algorithms that the device or the product does not have.
    for (auto& [shape, choice] : choices) choice = {.kernel = Choice::Kernel::tile, .tile = tile};
    Choice nonsense = algorithm(0);
    nonsense.algorithm.fill(0xff);
    ChoiceMap algorithms = choices;
    for (auto& [shape, choice] : algorithms) choice = nonsense;
    for (const ChoiceMap& wrong : {choices, algorithms}) {
      const auto device = kind.device();
      device->use_choices(write_choices(own, wrong), "c.plan");
      const auto [error, message] = refusal([&] { run_on(*device, 177); });
      CHECK(error == ErrorKind::checkpoint);
      CHECK(message.starts_with("c.plan: the device cannot compute 'linear 512 256 177 "));
    }
  }
}

TEST_CASE("cuda choices: a tile that a text asks for adds to the residual stream") {
  const auto first = cuda_or_skip(Precision::bf16);
  if (!first || first->description().find("sm_90") == std::string::npos) return;
  const Found measured = run_on(*first, 179);
  const ChoiceIdentity kind = identity_in(measured.choices);
  for (const WideTile& wanted : {wide_add_tiles[0], wide_add_tiles[1]}) {
    ChoiceMap choices = read_choices(measured.choices, "a.plan", kind);
    for (auto& [shape, choice] : choices)
      if (shape.starts_with("linear 256 512 ")) choice = {.kernel = Choice::Kernel::tile, .tile = wanted};
    const auto device = make_cuda_device(Precision::bf16, 0);
    device->use_choices(write_choices(kind, choices), "a.plan");
    const Found found = run_on(*device, 179);
    CHECK(std::ranges::count_if(found.plan, [&](const std::string& line) {
            return line.find("added by tiles of " + name_of(wanted) + ", 0.0 us") != std::string::npos;
          }) == 2);
    for (std::size_t i = 0; i < found.values.size(); ++i)
      if (!(std::abs(found.values[i] - measured.values[i]) < 0.1f))
        CHECK(found.values[i] == doctest::Approx(measured.values[i]));
  }
}

}  // namespace
}  // namespace nervus::cuda
