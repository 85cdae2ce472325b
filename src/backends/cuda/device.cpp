#include "backends/device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "backends/cuda/block/formats.h"
#include "backends/cuda/cuda_kernels.h"
#include "backends/cuda/graph.h"
#include "backends/cuda/management.h"
#include "core/message.h"

namespace nervus {
namespace cuda {
namespace {

constexpr int oldest_major = 8;  // of the compute capability: the first with bf16
constexpr int oldest_with_e4m3 = 89, with_int8 = 90;
constexpr std::int64_t granularity = 8;  // rows: fewer would not make a product faster
constexpr int upload_slots = 8;
constexpr int weight_slots = 2;
constexpr int health_note = 13;  // which nobody else notes

cudaDeviceProp properties_of(int ordinal) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, ordinal), "asking what the device is");
  return properties;
}

void check_ordinal(int ordinal) {
  const int count = device_count();
  if (ordinal >= 0 && ordinal < count) return;
  fail(ErrorKind::unsupported, "device 'cuda:", ordinal, "': this machine has ", plural(count, "CUDA device"),
       count > 1 ? concat(", cuda:0 to cuda:", count - 1) : std::string(", cuda:0"));
}

// "NVIDIA H200, sm_90, 132 SMs"
std::string kind_of(const cudaDeviceProp& properties) {
  return concat(properties.name, ", sm_", properties.major, properties.minor, ", ", properties.multiProcessorCount,
                " SMs");
}

// "cuda:0 (NVIDIA H200, sm_90, 132 SMs)"
std::string describe(int ordinal, const cudaDeviceProp& properties) {
  return concat("cuda:", ordinal, " (", kind_of(properties), ")");
}

// "13.0"
std::string version_of(int number) { return concat(number / 1000, ".", number % 1000 / 10); }

int driver_version() {
  int driver = 0;
  check_cuda(cudaDriverGetVersion(&driver), "asking for the driver");
  return driver;
}

// What decides which kernels there are and how fast they are.
ChoiceIdentity identity_of(const cudaDeviceProp& properties) {
  return {{"device", kind_of(properties)},
          {"driver", "for CUDA " + version_of(driver_version())},
          {"runtime", "CUDA " + version_of(CUDART_VERSION)},
          {"library", concat("cuBLASLt ", cublasLtGetVersion())},
          {"kernels", NERVUS_CUDA_KERNELS " for " NERVUS_CUDA_ARCHITECTURES}};
}

// Of a device: one thread at a time makes or ends what computes on it. Whoever ends cuBLASLt's handle waits for the
// whole device, which spoils what another thread records there. The thread that holds it may hold it again: what a
// load's progress calls may end another policy, and nothing is recorded meanwhile.
std::unique_lock<std::recursive_mutex> hold_device(int ordinal) {
  struct Devices {
    std::mutex mutex;
    std::map<int, std::recursive_mutex> own;
  };
  static Devices& devices = *new Devices;  // never destroyed: a policy may outlive main
  std::unique_lock lock(devices.mutex);
  std::recursive_mutex& own = devices.own[ordinal];
  lock.unlock();
  return std::unique_lock(own);
}

class CudaDevice final : public Device {
 public:
  CudaDevice(Precision precision, int ordinal, bool fuse, Attention attention, const cudaDeviceProp& properties)
      : Device(static_cast<int>(std::min(8u, std::thread::hardware_concurrency()))),
        activation_(precision == Precision::bf16 ? DType::bf16 : DType::f32),
        fuse_(fuse),
        attention_(attention),
        description_(describe(ordinal, properties)),
        stream_(ordinal),
        arena_(stream_),
        uploads_(stream_, upload_slots),
        mirrors_(stream_),
        weights_(stream_, weight_slots),
        kernels_(stream_, arena_, fuse, attention, identity_of(properties)) {}
  ~CudaDevice() override {
    cudaStreamSynchronize(stream_.get());
    alone_ = hold_device(stream_.ordinal());
  }

  std::string description() const override { return description_; }
  std::unique_lock<std::recursive_mutex> hold_loads() const override { return hold_device(stream_.ordinal()); }
  Kernels& kernels() override { return kernels_; }
  DType activation() const override { return activation_; }
  bool multiplies(DType dtype) const override {
    const int capability = stream_.major() * 10 + stream_.minor();
    if (dtype == DType::f16) return activation_ == DType::bf16;  // whose kernels take it
    return dtype == activation_ || (dtype == DType::e4m3 && capability >= oldest_with_e4m3) ||
           (dtype == DType::i8 && capability == with_int8);
  }
  std::int64_t memory() const override { return arena_.allocated(); }
  void* allocate(std::int64_t bytes) override { return arena_.allocate(bytes); }

  Linear make_linear(const LinearSource& source) override {
    Linear w = begin_linear(source);
    w.fused = source.block != nullptr && source.block->fused && fits_block(source, w);
    w.wide = w.fused ? source.block->wide && !source.silu : fuse_ && kernels_.wide().fits(source, w);
    if (w.wide) w.weight = kernels_.wide().pack(source, w, weights_);
    else if (!w.fused) w.weight = kernels_.linears().pack(source, w, weights_);
    else w.weight = source.silu ? pack_silu(source, w) : pack_fused(source, w);
    return w;
  }
  Linear with_bias(const Linear& w, const std::vector<float>& bias) override {
    check(!w.wide, w.name + ": a wide linear keeps its bias");
    Linear other = Device::with_bias(w, bias);
    if (!w.fused) other.weight = kernels_.linears().with_bias(other);
    return other;
  }
  std::int64_t few_rows() const override { return why_nothing_is_fused().empty() ? most_block_rows : 0; }
  BlockPlan plan_blocks(const BlockShape& shape) override {
    const std::string refusal = why_nothing_is_fused();
    const FusedBlock block = refusal.empty() ? fuse_block(shape, formats_of(shape.names)) : not_fused(refusal);
    blocks_[{std::string(shape.names), shape.rows}] = block.text;
    return block.plan;
  }
  Norm fold(const Norm& norm, const Linear& reader) override {
    if (!reader.fused) return norm;
    Norm folded = norm;
    folded.folded = {arena_.allocate(reader.outputs * 4), DType::f32, 1, reader.outputs};
    folded.stream = reader.input;
    if (reader.wide) kernels_.wide().fold(folded.folded, reader, norm.shift);
    else fold_block(stream_, folded.folded, reader, norm.shift);
    return folded;
  }

  void* staging(const Tensor& target) override { return mirrors_.of(target.data, target.bytes()); }
  void upload(const Tensor& target, const void* source) override {
    if (target.bytes() == 0) return;
    stream_.use();
    if (!mirrors_.copy(target.data, source, target.bytes())) uploads_.upload(target.data, source, target.bytes());
  }

  void download(void* target, const Tensor& source) override {
    if (source.bytes() == 0) return;
    stream_.use();
    check_cuda(cudaMemcpyAsync(target, source.data, static_cast<std::size_t>(source.bytes()), cudaMemcpyDeviceToHost,
                               stream_.get()),
               "copying " + megabytes(source.bytes()) + " from the device");
    stream_.synchronize();
  }

  std::unique_ptr<Graph> capture(std::function<void()> work) override {
    weights_.release();  // whoever records has loaded
    return capture_graph(stream_, work);
  }
  std::int64_t row_granularity() const override { return granularity; }
  void synchronize() override { stream_.synchronize(); }
  // Waiting for an idle stream asks nothing of the device; an event does.
  void check_health() override {
    note(health_note);
    stream_.synchronize();
  }

  void note(int stamp) override {
    stream_.use();
    Event& event = notes_.at(static_cast<std::size_t>(stamp));
    if (!event) event = make_event(cudaEventDefault);
    check_cuda(cudaEventRecord(event.get(), stream_.get()), "noting the time");
  }
  double milliseconds(int from, int to) const override {
    float elapsed = 0;
    check_cuda(cudaEventElapsedTime(&elapsed, notes_.at(static_cast<std::size_t>(from)).get(),
                                    notes_.at(static_cast<std::size_t>(to)).get()),
               "asking for the time between two notes");
    return elapsed;
  }
  void use_choices(const std::string& text, const std::string& file) override { kernels_.choices().use(text, file); }
  std::string choices() const override { return kernels_.choices().text(); }
  std::vector<std::string> plan() const override {
    std::vector<std::string> lines{kernels_.choices().summary()};
    for (const auto& [key, how] : blocks_)
      lines.push_back(concat("blocks of ", key.first, "*, up to ", plural(key.second, "row"), ": ", how));
    for (std::string& line : kernels_.wide().plan()) lines.push_back(std::move(line));
    for (std::string& line : kernels_.linears().plan()) lines.push_back(std::move(line));
    return lines;
  }
  std::vector<std::string> attention_plan() const override { return kernels_.attention_choice().plan(); }

 private:
  // Whether a fused kernel computes it; of a block's linear in another format, `input` becomes what that reads.
  bool fits_block(const LinearSource& source, Linear& w) const {
    if (w.input.dtype == activation_) return !source.silu || silu_linear_fits(w);
    const auto input = source.block->inputs.find(w.name);
    if (input == source.block->inputs.end()) return false;
    w.input = input->second;
    return true;
  }

  // Empty where fused kernels may compute blocks.
  std::string why_nothing_is_fused() const {
    if (!fuse_) return "an observer is to see every linear";
    if (attention_ == Attention::plain) return "the plain attention reads rows, not tiles";
    if (stream_.major() != 9)
      return concat("expected compute capability 9.0, found ", stream_.major(), ".", stream_.minor());
    if (activation_ != DType::bf16) return concat("expected bf16, found ", name_of(activation_));
    return "";
  }

  std::shared_ptr<const void> pack_fused(const LinearSource& source, Linear& w) {
    const BlockRole role = source.gate_up ? BlockRole::gate_up : w.heads.size > 0 ? BlockRole::qkv : BlockRole::add;
    auto product = std::make_shared<BlockProduct>();
    product->layout = choose_block_layout(role, w.outputs, w.inputs, w.heads.size, w.input.dtype);
    Tensor rows{nullptr, DType::bf16, w.outputs, w.inputs};
    const DeviceBuffer memory = device_buffer(rows.bytes());
    rows.data = memory.get();
    source.read_weight(rows.dtype, weights_.take(rows.bytes()));
    weights_.copy(rows.data, rows.bytes());
    DeviceBuffer more;
    if (w.input.dtype == DType::e4m3) {
      Tensor codes{nullptr, DType::e4m3, w.outputs, w.inputs}, scale{nullptr, DType::f32, 1, w.outputs};
      more = device_buffer(codes.bytes() + scale.bytes());
      scale.data = more.get();
      codes.data = scale.as<float>() + w.outputs;
      product->scale = scale;
      product->scale.data = arena_.allocate(scale.bytes());
      quantise_rows(stream_, codes, scale, rows, w.input.scale);
      order_block(stream_, product->scale, scale, product->layout);
      rows = codes;
    }
    void* packed = arena_.allocate(product->layout.elements() * product->layout.element);
    pack_block(stream_, packed, rows.data, product->layout);
    stream_.synchronize();  // before `memory` goes
    product->packed = packed;
    w.input.tiled = true;
    return product;
  }

  // In f32, transposed: [K, N].
  std::shared_ptr<const void> pack_silu(const LinearSource& source, Linear& w) {
    std::vector<float> rows(static_cast<std::size_t>(w.inputs * w.outputs)), columns(rows.size());
    source.read_weight(DType::f32, rows.data());
    for (std::int64_t n = 0; n < w.outputs; ++n) {
      for (std::int64_t k = 0; k < w.inputs; ++k) columns[k * w.outputs + n] = rows[n * w.inputs + k];
    }
    w.input = {.dtype = DType::f32};
    return std::make_shared<Tensor>(constant(w.inputs, w.outputs, columns));
  }

  std::unique_lock<std::recursive_mutex> alone_;  // of the destructor, until the last member is gone
  DType activation_;
  bool fuse_;
  Attention attention_;
  std::map<std::pair<std::string, std::int64_t>, std::string> blocks_;  // how: by their names' beginning and rows
  std::string description_;
  Stream stream_;
  Arena arena_;
  Staging uploads_;
  Mirrors mirrors_;
  Staging weights_;
  CudaKernels kernels_;
  std::array<Event, 16> notes_;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Device> make_cuda_device(Precision precision, int ordinal, bool fuse, Attention attention) {
  cuda::check_ordinal(ordinal);
  const cudaDeviceProp properties = cuda::properties_of(ordinal);
  const std::string description = cuda::describe(ordinal, properties);
  if (properties.major < cuda::oldest_major) {
    fail(ErrorKind::unsupported, description, ": expected compute capability ", cuda::oldest_major,
         ".0 or newer, found ", properties.major, ".", properties.minor, ": use another device, or --device cpu");
  }
  cuda::check_cuda(cudaSetDevice(ordinal), "choosing the device");
  if (!cuda::has_kernels_for_current_device()) {
    fail(ErrorKind::unsupported, description,
         ": this build has kernels for " NERVUS_CUDA_ARCHITECTURES " only: rebuild with NERVUS_CUDA_ARCHITECTURES=",
         properties.major, properties.minor);
  }
  if (attention == Attention::fast && precision == Precision::f32) {
    fail(ErrorKind::unsupported, description, ": attention 'fast' computes in bf16, found the precision f32: use ",
         "--precision bf16, or --attention auto");
  }
  const auto alone = cuda::hold_device(ordinal);
  return std::make_unique<cuda::CudaDevice>(precision, ordinal, fuse, attention, properties);
}

std::string describe_cuda() {
  const int count = cuda::device_count();
  std::string text = concat("CUDA ", cuda::version_of(CUDART_VERSION), ", driver for ",
                            cuda::version_of(cuda::driver_version()), ", kernels for " NERVUS_CUDA_ARCHITECTURES);
  for (int i = 0; i < count; ++i) {
    std::size_t available = 0;
    std::size_t total = 0;
    cuda::check_cuda(cudaSetDevice(i), "choosing the device");
    cuda::check_cuda(cudaMemGetInfo(&available, &total), "asking for the memory");
    text += concat("; ", cuda::describe(i, cuda::properties_of(i)), ", ", available / 1000000, " of ", total / 1000000,
                   " MB free");
  }
  return text;
}

DeviceState cuda_state(int ordinal) {
  cuda::check_ordinal(ordinal);
  return cuda::read_state(ordinal);
}

}  // namespace nervus
