// Policies of a CUDA device whose choices of kernels are kept in a file.
#include <doctest/doctest.h>

#include <sstream>
#include <thread>

#include "backends/cuda/choices.h"
#include "checkpoint/file.h"
#include "runtime/cuda_support.h"

using namespace nervus;
using cuda::Choice;
using cuda::ChoiceMap;
using test::has_cuda;

namespace {

constexpr std::uint64_t most_bytes = 1 << 24;

struct Loaded {
  std::string summary;
  std::vector<std::string> plan;
  std::vector<float> values;
};

LoadOptions options(const std::filesystem::path& plan, Precision precision = Precision::bf16) {
  return {.device = "cuda:0",
          .precision = precision,
          .plan = plan,
          .steps = {2},
          .limits = test::limits_of(test::golden_inputs("base"))};
}

Loaded load(const LoadOptions& options) {
  Policy policy = Policy::load(test::golden("base"), options);
  Loaded loaded{.plan = policy.info().linear_plan, .values = policy.infer(test::golden_inputs("base")).values};
  loaded.summary = loaded.plan.front();
  loaded.plan.erase(loaded.plan.begin());
  return loaded;
}

std::string text_of(const std::filesystem::path& file) { return read_text(file, most_bytes); }

cuda::ChoiceIdentity identity_in(const std::string& text) {
  cuda::ChoiceIdentity identity;
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  for (int i = 0; i < 5 && std::getline(lines, line); ++i) {
    const std::size_t space = line.find(' ');
    identity.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return identity;
}

ChoiceMap choices_in(const std::string& text) { return cuda::read_choices(text, "a.plan", identity_in(text)); }

std::string read_all(const std::string& file, std::size_t count) {
  return "choices: 0 measured now, 0 measured before in this process, " + std::to_string(count) + " read from " + file;
}

}  // namespace

TEST_CASE("cuda plan: a load writes what it chose, and a load by that file measures nothing and gives the same bytes") {
  if (!has_cuda()) return;
  const test::TemporaryDirectory directory;
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const std::filesystem::path file = directory / (std::string(name_of(precision)) + ".plan");
    const Loaded first = load(options(file, precision));
    const std::string text = text_of(file);
    const ChoiceMap choices = choices_in(text);
    REQUIRE(!choices.empty());
    const Loaded second = load(options(file, precision));
    CHECK(second.summary == read_all(file.string(), choices.size()));
    CHECK(second.plan == first.plan);
    CHECK(second.values == first.values);
    CHECK(text_of(file) == text);

    // What the file lacks is added to it.
    ChoiceMap fewer = choices;
    fewer.erase(fewer.begin());
    write_text(file, cuda::write_choices(identity_in(text), fewer));
    const Loaded third = load(options(file, precision));
    CHECK(third.summary == "choices: 0 measured now, 1 measured before in this process, " +
                               std::to_string(fewer.size()) + " read from " + file.string());
    CHECK(third.values == first.values);
    CHECK(text_of(file) == text);
  }
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) files += entry.is_regular_file();
  CHECK(files == 2);
}

TEST_CASE("cuda plan: a policy computes by the file, though it chose otherwise before, and the file stays") {
  if (!has_cuda()) return;
  const test::TemporaryDirectory directory;
  const std::filesystem::path file = directory / "a.plan", other = directory / "b.plan";
  const Loaded chosen = load(options(file));
  const std::string text = text_of(file);
  ChoiceMap choices = choices_in(text);
  std::size_t linears = 0;
  for (auto& [shape, choice] : choices) {
    if (!shape.starts_with("linear ")) continue;
    choice = {};
    ++linears;
  }
  REQUIRE(linears > 0);
  const std::string plain = cuda::write_choices(identity_in(text), choices);
  write_text(other, plain);
  const Loaded found = load(options(other));
  CHECK(found.summary == read_all(other.string(), choices.size()));
  CHECK(std::ranges::count_if(found.plan, [](const std::string& line) { return line.ends_with(": plain kernel"); }) ==
        static_cast<std::ptrdiff_t>(linears));
  CHECK(text_of(other) == plain);
  REQUIRE(found.values.size() == chosen.values.size());
  float largest = 0, difference = 0;
  for (std::size_t i = 0; i < found.values.size(); ++i) {
    largest = std::max(largest, std::abs(chosen.values[i]));
    difference = std::max(difference, std::abs(found.values[i] - chosen.values[i]));
  }
  CHECK(difference < 0.1f * largest);
  CHECK(load(options(other)).values == found.values);
  CHECK(load(options({})).plan == chosen.plan);
}

TEST_CASE("cuda plan: a file of another device or build, or damaged, is refused and stays as it is") {
  if (!has_cuda()) return;
  const test::TemporaryDirectory directory;
  const std::filesystem::path file = directory / "a.plan";
  load(options(file));
  const std::string text = text_of(file);
  cuda::ChoiceIdentity identity = identity_in(text);
  REQUIRE(identity.size() == 5);
  const auto refused = [&](const std::string& other) {
    write_text(file, other);
    const auto failure = test::error_of([&] { Policy::load(test::golden("base"), options(file)); });
    CHECK(failure.second.starts_with(file.string()));
    CHECK(failure.second.find("delete it, so that it is made anew") != std::string::npos);
    CHECK(text_of(file) == other);
    return failure;
  };
  for (auto& [name, value] : identity) {
    const std::string right = value;
    value = "another";
    const auto [kind, message] = refused(cuda::write_choices(identity, choices_in(text)));
    CHECK(kind == ErrorKind::unsupported);
    CHECK(message.find("expected '" + name + " " + right + "', found '" + name + " another'") != std::string::npos);
    value = right;
  }
  CHECK(refused(text.substr(0, text.size() / 2)).first == ErrorKind::checkpoint);
  ChoiceMap choices = choices_in(text);
  for (auto& [shape, choice] : choices) {  // no algorithm of the library
    if (!shape.starts_with("linear ")) continue;
    choice = {.kernel = Choice::Kernel::library, .candidates = 1};
    choice.algorithm.fill(0xff);
  }
  const auto [kind, message] = refused(cuda::write_choices(identity, choices));
  CHECK(kind == ErrorKind::checkpoint);
  CHECK(message.find(": the device cannot compute 'linear ") != std::string::npos);
}

TEST_CASE("cuda plan: replicas that load at once with a file that is not there share choices and write it whole") {
  if (!has_cuda()) return;
  const test::TemporaryDirectory directory;
  const std::filesystem::path file = directory / "a.plan";
  std::vector<Loaded> loaded(3);
  std::vector<std::thread> threads;
  for (Loaded& one : loaded) threads.emplace_back([&] { one = load(options(file)); });
  for (std::thread& thread : threads) thread.join();
  for (const Loaded& one : loaded) {
    CHECK(one.plan == loaded[0].plan);
    CHECK(one.values == loaded[0].values);
  }
  const std::size_t count = choices_in(text_of(file)).size();
  CHECK(load(options(file)).summary == read_all(file.string(), count));
}

TEST_CASE("cuda plan: inspect computes by a file, and makes none") {
  if (!has_cuda()) return;
  const test::TemporaryDirectory directory;
  const std::filesystem::path file = directory / "a.plan";
  inspect(test::golden("base"), options(file));
  CHECK(!std::filesystem::exists(file));
  const Loaded loaded = load(options(file));
  std::vector<std::string> plan = inspect(test::golden("base"), options(file)).linear_plan;
  CHECK(plan.front() == read_all(file.string(), choices_in(text_of(file)).size()));
  plan.erase(plan.begin());
  CHECK(plan == loaded.plan);
}
