// A CUDA device that fails: loads and calls end in an error that says so, leave nothing behind, and other policies go
// on.
#include <doctest/doctest.h>

#include <limits>

#include "backends/cuda/injected_failure.h"
#include "runtime/cuda_support.h"

using namespace nervus;
using cuda::InjectedFailure;
using test::has_cuda;

namespace {

constexpr std::int64_t megabyte = 1 << 20;
constexpr const char* lost_case = "cuda failure: in a process of its own, a lost device is an error for every policy";

LoadOptions options() {
  return {.device = "cuda:0", .steps = {2}, .limits = test::limits_of(test::golden_inputs("base"))};
}

Policy load() { return Policy::load(test::golden("base"), options()); }

// A policy that must not notice what happens to others.
struct Witness {
  Policy policy = load();
  Inputs inputs = test::golden_inputs("base");
  std::vector<float> expected = policy.infer(inputs).values;

  void check() { CHECK(policy.infer(inputs).values == expected); }
};

}  // namespace

TEST_CASE("cuda failure: a load that fails anywhere is an error, leaves nothing behind and others alone") {
  if (!has_cuda()) return;
  Witness witness;
  std::int64_t calls = 0;
  {
    InjectedFailure never("", std::numeric_limits<std::int64_t>::max());
    load();
    calls = never.met();
  }
  REQUIRE(calls > 100);
  const int points = test::calls_to_make(24) > 24 ? 100 : 24;
  const std::int64_t used = device_state("cuda:0").memory_used;
  for (std::int64_t i = 0; i < points; ++i) {
    CAPTURE(i * calls / points);
    {
      InjectedFailure failure("", i * calls / points);
      CHECK(test::error_of([] { load(); }).first == ErrorKind::device);
      CHECK(failure.happened());
    }
    witness.check();
  }
  // One arena or workspace that stayed would be more.
  CHECK(device_state("cuda:0").memory_used - used < 48 * megabyte);
  CHECK(load().infer(witness.inputs).values.size() == witness.expected.size());
}

TEST_CASE("cuda failure: each allocation of a load may be refused, with the mend") {
  if (!has_cuda()) return;
  Witness witness;
  std::int64_t allocations = 0;
  {
    InjectedFailure never("allocating", std::numeric_limits<std::int64_t>::max());
    load();
    allocations = never.met();
  }
  REQUIRE(allocations > 3);
  const std::int64_t step = std::max<std::int64_t>(1, allocations / 12);
  for (std::int64_t i = 0; i < allocations; i += step) {
    InjectedFailure failure("allocating", i);
    const auto [kind, message] = test::error_of([] { load(); });
    CAPTURE(message);
    CHECK(kind == ErrorKind::device);
    CHECK(message.starts_with("cuda:0: allocating "));
    CHECK(message.find("free memory on it") != std::string::npos);
  }
  witness.check();
}

TEST_CASE("cuda failure: a call that fails is an error, and the next one gives what it gave before") {
  if (!has_cuda()) return;
  Witness witness, other;
  for (const char* what : {"launching a graph", "noting the time", "copying", "waiting"}) {
    for (const std::int64_t after : {0, 1, 2}) {
      CAPTURE(what);
      CAPTURE(after);
      {
        InjectedFailure failure(what, after);
        try {
          witness.policy.infer(witness.inputs);
          CHECK_FALSE(failure.happened());
        } catch (const Error& error) {
          CHECK(failure.happened());
          CHECK(error.kind() == ErrorKind::device);
          CHECK(std::string(error.what()).starts_with(std::string("cuda:0: ") + what));
        }
      }
      witness.check();
      other.check();
    }
  }
}

TEST_CASE("cuda failure: a device that is asked whether it is there says so, and a failure is an error") {
  if (!has_cuda()) return;
  Witness witness;
  witness.policy.check_device();
  for (const char* what : {"noting the time", "waiting"}) {
    InjectedFailure failure(what, 0);
    CHECK(test::error_of([&] { witness.policy.check_device(); }).first == ErrorKind::device);
    CHECK(failure.happened());
  }
  witness.policy.check_device();
  witness.check();
}

TEST_CASE("cuda failure: on a device that is full a load is an error, and others go on") {
  if (!has_cuda()) return;
  Witness witness;
  {
    const auto ballast = make_cuda_device(Precision::bf16, 0);
    const auto available = [] {
      const DeviceState state = device_state("cuda:0");
      return state.memory_total - state.memory_used;
    };
    for (std::int64_t size = available(); size >= megabyte && available() > 24 * megabyte;) {
      try {
        ballast->allocate(std::min(size, available() - 16 * megabyte));
      } catch (const Error&) {
        size /= 2;
      }
    }
    const auto [kind, message] = test::error_of([] { load(); });
    CAPTURE(message);
    CHECK(kind == ErrorKind::device);
    witness.check();
  }
  witness.check();
  CHECK(load().infer(witness.inputs).values.size() == witness.expected.size());
}

TEST_CASE("cuda failure: a device that is lost is an error that says so") {
  if (!has_cuda()) return;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = "'" + program + "' --no-skip '--test-case=" + lost_case + "' > /dev/null 2>&1";
  CHECK(std::system(command.c_str()) == 0);
}

TEST_CASE("cuda failure: in a process of its own, a lost device is an error for every policy" * doctest::skip()) {
  Witness witness;
  const auto device = make_cuda_device(Precision::f32, 0);
  const Tensor nowhere{reinterpret_cast<void*>(std::uintptr_t{1} << 8), DType::f32, 1, 1 << 20};
  const auto lost = [&] {
    device->kernels().euler_step(nowhere, nowhere, 1.0f);
    device->synchronize();
  };
  const auto [kind, message] = test::error_of(lost);
  CAPTURE(message);
  CHECK(kind == ErrorKind::device);
  CHECK(message.find("the device is lost to this process, which must be started again") != std::string::npos);
  CHECK(test::error_of([&] { witness.policy.check_device(); }).first == ErrorKind::device);
  CHECK(test::error_of([&] { witness.policy.infer(witness.inputs); }).first == ErrorKind::device);
  CHECK(test::error_of([] { load(); }).first == ErrorKind::device);
  LoadOptions on_cpu = options();  // what does not need the device goes on
  on_cpu.device = "cpu";
  try {
    CHECK(!Policy::load(test::golden("base"), on_cpu).infer(witness.inputs).values.empty());
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::unsupported);  // a build of the engine alone has no CPU
  }
}
