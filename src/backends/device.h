// Device: where a model's numbers live and who computes on them. Everything is allocated when the
// policy is loaded; what can fail, fails there.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/kernels.h"
#include "core/parallel.h"
#include "nervus/options.h"

namespace nervus {

struct DeviceState;  // nervus/tools.h

// Work that was recorded once and can be launched again and again.
class Graph {
 public:
  virtual ~Graph() = default;
  // Starts the work; on a GPU it does not wait for its end.
  virtual void launch() = 0;
};

class Device {
 public:
  virtual ~Device() = default;

  // "cpu (2 threads, avx512_bf16)"
  virtual std::string description() const = 0;
  virtual Kernels& kernels() = 0;
  // The type of activations between ops: f32, or bf16.
  virtual DType activation() const = 0;
  // Whether it has products of inputs and weights in this format.
  virtual bool multiplies(DType dtype) const { return dtype == activation(); }

  // Held while a policy is loaded: whoever loads or ends another on the same device waits.
  virtual std::unique_lock<std::recursive_mutex> hold_loads() const { return {}; }

  // The formats of the linears that are made from here on. It must multiply them.
  void use_formats(Formats formats);
  // The format of a linear, by name, if it is made now.
  Encoding encoding_for(const std::string& linear) const;

  // Reads, converts and packs a weight.
  virtual Linear make_linear(const LinearSource& source) = 0;
  // The linear with another bias; both share the weight.
  virtual Linear with_bias(const Linear& w, const std::vector<float>& bias);
  // Memory for the life of the device, zero-filled, aligned to Workspace::alignment.
  virtual void* allocate(std::int64_t bytes) = 0;
  // Host -> device; `target.bytes()` bytes.
  virtual void upload(const Tensor& target, const void* source) = 0;
  // Host memory of target.bytes() bytes to fill for upload(target, staging(target)), or some rows of both, which is the
  // shortest way: pinned memory, or the target's own where the host can write it.
  virtual void* staging(const Tensor& target);
  // The host's threads that prepare a call together: more than one for a device that does not compute on them.
  Crew& crew() { return crew_; }
  // Device -> host; waits for what was launched before.
  virtual void download(void* target, const Tensor& source) = 0;
  // Bytes that weights and allocations hold.
  virtual std::int64_t memory() const = 0;

  // Records the launches of `work`, with the addresses and extents they have now. Where launches cost nothing (here),
  // the graph keeps `work` and runs it.
  virtual std::unique_ptr<Graph> capture(std::function<void()> work);
  // The least step of the prefix rows that graphs are captured for (models/call_shape.h). 1: graphs do not hold
  // extents, and one of each stage serves every call.
  virtual std::int64_t row_granularity() const { return 1; }
  // Waits for what was launched.
  virtual void synchronize() {}
  // Asks for a sign of life, in microseconds. Throws Error(device) where there is none.
  virtual void check_health() {}
  // Notes the time at which what was launched before is done; after synchronize(), milliseconds() says how much time
  // passed between two notes. `stamp` is 0 to 15.
  virtual void note(int stamp);
  virtual double milliseconds(int from, int to) const;

  // Before a model is loaded: kernels by the choices of another load, the text that choices() gave, where they have the
  // shape. Throws Error(checkpoint | unsupported) naming its file where they are damaged, or of another device or
  // build.
  virtual void use_choices(const std::string&, const std::string&) {}
  // Those that were met by now and those that use_choices() took; empty where the device has no choice.
  virtual std::string choices() const { return {}; }
  // How linears are computed, a line for each shape that was met; empty where there is no choice.
  virtual std::vector<std::string> plan() const { return {}; }
  // Which attention kernels are active and why: what was asked for, and a line for each kind of call that was met.
  virtual std::vector<std::string> attention_plan() const { return {"one kernel, for every shape and mask"}; }

  // The most rows of a call for which it has blocks of their own; 0: it has none.
  virtual std::int64_t few_rows() const { return 0; }
  // How the four linears of such a block are to be made, in the formats that they were given.
  virtual BlockPlan plan_blocks(const BlockShape&) { return {}; }
  // The norm as its only reader wants it: where that linear is fused, with b + W shift folded.
  virtual Norm fold(const Norm& norm, const Linear&) { return norm; }

  // What a linear is on any device: all but its weight, which has the type of its input.
  Linear begin_linear(const LinearSource& source);

  // A device tensor holding the values: f32 or i32.
  Tensor constant(std::int64_t rows, std::int64_t columns, const std::vector<float>& values);
  Tensor constant(std::int64_t rows, std::int64_t columns, const std::vector<std::int32_t>& values);

 protected:
  explicit Device(int host_threads = 1) : crew_(host_threads) {}
  // Those given to linears whose names begin so.
  Formats formats_of(std::string_view beginning) const;

 private:
  std::map<const void*, std::vector<std::byte>> staging_;
  std::array<std::chrono::steady_clock::time_point, 16> notes_{};
  Formats formats_;
  Crew crew_;
};

// The CPU. threads 0 means all cores this process may use. Linears are oneDNN's where it has products of the precision
// for this processor, otherwise the project's own; description() says which.
std::unique_ptr<Device> make_cpu_device(Precision precision, int threads);

// CUDA device `ordinal`. Throws Error(unsupported) that says what is missing: CUDA in this build, a driver, the device,
// or compute capability 8.0. Without `fuse` it fuses no blocks, so that an observer sees every norm and linear, and its
// kernels are those that every device has. It refuses fast attention at once where the precision has none, and
// otherwise when it meets a shape that has none.
std::unique_ptr<Device> make_cuda_device(Precision precision, int ordinal, bool fuse = true,
                                         Attention attention = Attention::automatic);
// CUDA's version, the driver's, and the devices with their memory. Throws Error(unsupported) where there are none.
std::string describe_cuda();
// Driver, clocks and memory of CUDA device `ordinal` now. Throws Error(unsupported) where there is none.
DeviceState cuda_state(int ordinal);

}  // namespace nervus
