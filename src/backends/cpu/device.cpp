#include "backends/cpu/device.h"

#include <omp.h>

#include <cstring>

#include "backends/cpu/kernels.h"

namespace nervus {

void CpuKernels::attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Tensor& ranges,
                           const Heads& heads) {
  const std::int64_t needed = table_.attention_scratch(q.rows, cache.keys.rows, heads, threads_);
  if (needed > scratch_bytes_) {
    scratch_.reset();
    scratch_ = allocate_memory(needed);
    scratch_bytes_ = needed;
  }
  table_.attention(y, q, cache, ranges, heads, scratch_.get(), threads_);
}

namespace {

class CpuDevice final : public Device {
 public:
  CpuDevice(Precision precision, int threads, const CpuChoice& choice)
      : activation_(precision == Precision::bf16 ? DType::bf16 : DType::f32),
        description_("cpu (" + plural(threads, "thread") + ", " + choice.table.name +
                     (choice.library ? ", " + Linears::library() : std::string()) + ")"),
        kernels_(choice.table, choice.library, threads) {}

  std::string description() const override { return description_; }
  Kernels& kernels() override { return kernels_; }
  DType activation() const override { return activation_; }

  Linear make_linear(const LinearSource& source) override {
    Linear w = begin_linear(source);
    w.weight = kernels_.linears().pack(source, activation_, memory_);
    return w;
  }

  void* allocate(std::int64_t bytes) override {
    check(bytes >= 0, "allocate: a size");
    allocations_.push_back(allocate_memory(bytes));
    memory_ += bytes;
    if (bytes > 0) std::memset(allocations_.back().get(), 0, static_cast<std::size_t>(bytes));
    return allocations_.back().get();
  }

  void* staging(const Tensor& target) override { return target.data; }
  void upload(const Tensor& target, const void* source) override { copy(target.data, source, target.bytes()); }
  void download(void* target, const Tensor& source) override { copy(target, source.data, source.bytes()); }
  std::int64_t memory() const override { return memory_; }

 private:
  static void copy(void* target, const void* source, std::int64_t bytes) {
    if (bytes > 0 && target != source) std::memcpy(target, source, static_cast<std::size_t>(bytes));
  }

  DType activation_;
  std::string description_;
  CpuKernels kernels_;
  std::vector<Memory> allocations_;
  std::int64_t memory_ = 0;
};

}  // namespace

std::unique_ptr<Device> make_cpu_device(Precision precision, int threads, const CpuChoice& choice) {
  return std::make_unique<CpuDevice>(precision, threads, choice);
}

std::unique_ptr<Device> make_cpu_device(Precision precision, int threads) {
  if (threads < 0) fail(ErrorKind::usage, "threads: expected 0 (all cores) or more, found " + std::to_string(threads));
  const bool library = Linears::supports(precision == Precision::bf16 ? DType::bf16 : DType::f32);
  const int chosen = threads > 0 ? threads : omp_get_num_procs();
  return make_cpu_device(precision, chosen, {*vector_kernels().front(), library});
}

}  // namespace nervus
