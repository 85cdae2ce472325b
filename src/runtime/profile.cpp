#include <tuple>

#include "runtime/engine.h"

namespace nervus {
namespace {

constexpr int begin_note = 14, end_note = 15;  // the engine's own are the first

// Adds up the time, by the device's clock, and the work of ops that share stage, name and shape.
class Profiler : public KernelObserver {
 public:
  explicit Profiler(Device& device) : device_(device) {}
  void stage(const char* name) { stage_ = name; }
  void before(const OpEvent&) override { device_.note(begin_note); }
  void after(const OpEvent& event) override {
    device_.note(end_note);
    device_.synchronize();
    const double elapsed = device_.milliseconds(begin_note, end_note);
    const Key key{stage_, event.op, std::string(event.name), event.rows, event.inputs, event.outputs};
    OpRecord& record = records_[key];
    std::tie(record.stage, record.op, record.name, record.rows, record.inputs, record.outputs) = key;
    record.calls += 1;
    record.milliseconds += elapsed;
    record.flops += event.flops;
    record.bytes += event.bytes;
    record.weight_bytes += event.weight_bytes;
  }
  std::vector<OpRecord> records() const {
    std::vector<OpRecord> result;
    for (const auto& [key, record] : records_) result.push_back(record);
    return result;
  }

 private:
  using Key = std::tuple<std::string, std::string, std::string, std::int64_t, std::int64_t, std::int64_t>;
  Device& device_;
  std::map<Key, OpRecord> records_;
  std::string stage_;
};

}  // namespace

std::vector<OpRecord> Engine::profile(std::size_t schedule) {
  Profiler profiler(*device_);
  observe(schedule, profiler, [&](const char* name) { profiler.stage(name); });
  return profiler.records();
}

void Engine::observe(std::size_t schedule, KernelObserver& observer, const std::function<void(const char*)>& begin) {
  ObservedKernels observed(device_->kernels(), observer);
  struct Restore {  // the device's own kernels again, whatever happens
    Ops& ops;
    Kernels& kernels;
    ~Restore() { ops.use(kernels); }
  } restore{*ops_, device_->kernels()};
  ops_->use(observed);
  run_stages(*model_, schedule, [&](const char* name, const auto& stage) {
    begin(name);
    stage();
  });
}

}  // namespace nervus
