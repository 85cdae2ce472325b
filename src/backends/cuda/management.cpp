#include "backends/cuda/management.h"

#include <dlfcn.h>

#include <array>
#include <memory>

#include "backends/cuda/check.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

constexpr const char* library_name = "libnvidia-ml.so.1";

// As nvml.h declares them; a result of 0 is success.
using Handle = struct nvmlDevice_st*;
using Number = int (*)(Handle, unsigned*);
using NumberOfKind = int (*)(Handle, int kind, unsigned*);
constexpr int clock_of_processors = 1, clock_of_memory = 2, temperature_of_gpu = 0;

class Management {
 public:
  Management() : library_(dlopen(library_name, RTLD_NOW | RTLD_LOCAL)) {
    if (!library_) missing(concat(library_name, " cannot be opened"));
    else if (const auto start = find<int (*)()>("nvmlInit_v2"); start == nullptr || start() != 0)
      missing(concat(library_name, " does not start"));
    else started_ = true;
  }
  Management(const Management&) = delete;
  Management& operator=(const Management&) = delete;
  ~Management() {
    if (const auto stop = find<int (*)()>("nvmlShutdown"); started_ && stop != nullptr) stop();
  }

  // Why what is asked for stays unknown; empty if all is known.
  const std::string& unknown() const { return unknown_; }

  std::string driver() {
    std::array<char, 96> text{};
    const auto ask = find<int (*)(char*, unsigned)>("nvmlSystemGetDriverVersion");
    if (ask == nullptr || ask(text.data(), text.size()) != 0) missing("the driver's version");
    return text.data();
  }
  // The device at a place of the bus; null if it is not known.
  Handle device(const char* place) {
    Handle handle = nullptr;
    const auto ask = find<int (*)(const char*, Handle*)>("nvmlDeviceGetHandleByPciBusId_v2");
    if (ask == nullptr || ask(place, &handle) != 0) missing(concat("the device at ", place));
    return handle;
  }
  unsigned number(const char* function, Handle device, const char* what) {
    unsigned value = 0;
    const auto ask = find<Number>(function);
    if (ask == nullptr || ask(device, &value) != 0) missing(what);
    return value;
  }
  unsigned number(const char* function, Handle device, int kind, const char* what) {
    unsigned value = 0;
    const auto ask = find<NumberOfKind>(function);
    if (ask == nullptr || ask(device, kind, &value) != 0) missing(what);
    return value;
  }

 private:
  struct Close {
    void operator()(void* library) const { dlclose(library); }
  };

  template <typename Function>
  Function find(const char* name) const {
    return library_ ? reinterpret_cast<Function>(dlsym(library_.get(), name)) : nullptr;
  }
  void missing(const std::string& what) { unknown_ += (unknown_.empty() ? "" : ", ") + what; }

  std::unique_ptr<void, Close> library_;
  bool started_ = false;
  std::string unknown_;
};

}  // namespace

DeviceState read_state(int ordinal) {
  DeviceState state;
  state.runtime = concat("CUDA ", CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10);
  std::size_t available = 0, total = 0;
  std::array<char, 32> place{};
  check_cuda(cudaSetDevice(ordinal), "choosing the device");
  check_cuda(cudaMemGetInfo(&available, &total), "asking for the memory");
  check_cuda(cudaDeviceGetPCIBusId(place.data(), place.size(), ordinal), "asking where the device is");
  state.memory_total = static_cast<std::int64_t>(total);
  state.memory_used = static_cast<std::int64_t>(total - available);
  Management management;
  if (management.unknown().empty()) {
    state.driver = management.driver();
    if (const Handle device = management.device(place.data())) {
      const auto clock = [&](const char* function, int kind, const char* what) {
        return static_cast<int>(management.number(function, device, kind, what));
      };
      state.clock = clock("nvmlDeviceGetClockInfo", clock_of_processors, "the clock");
      state.memory_clock = clock("nvmlDeviceGetClockInfo", clock_of_memory, "the memory's clock");
      state.largest_clock = clock("nvmlDeviceGetMaxClockInfo", clock_of_processors, "the largest clock");
      state.largest_memory_clock = clock("nvmlDeviceGetMaxClockInfo", clock_of_memory, "the memory's largest clock");
      state.temperature = clock("nvmlDeviceGetTemperature", temperature_of_gpu, "the temperature");
      state.power = management.number("nvmlDeviceGetPowerUsage", device, "the power") / 1000.0;
    }
  }
  state.unknown = management.unknown();
  return state;
}

}  // namespace nervus::cuda
