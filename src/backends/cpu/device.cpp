#include "backends/cpu/device.h"

#include <omp.h>

#include <cstring>
#include <vector>

#include "backends/cpu/linears.h"

namespace nervus {

namespace {

// Rows of T, which is y's type; levels are converted once.
template <typename T>
void cut_all_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels, const PatchGeometry& geometry,
                     int threads) {
  std::vector<T> converted(static_cast<std::size_t>(levels.count()));
  convert(DType::f32, levels.data, y.dtype, converted.data(), levels.count());
  const std::int64_t patches = y.rows / pixels.rows;  // of an image
  const int side = geometry.side(patches);
  T* const rows = y.as<T>();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t r = 0; r < y.rows; ++r) {
    const std::uint8_t* rgb = static_cast<const std::uint8_t*>(pixels.data) + r / patches * pixels.columns;
    cut_patch(geometry, rgb, side, static_cast<int>(r % patches), converted.data(), rows + r * y.columns);
  }
}

// Linears by Linears, the rest by a table of vector kernels. One caller at a time.
class CpuKernels final : public Kernels {
 public:
  // Linears by oneDNN (`library`) or by the table.
  CpuKernels(const VectorKernels& table, bool library, int threads)
      : linears_(threads, library ? nullptr : &table), table_(table), threads_(threads) {}

  Linears& linears() { return linears_; }

  void linear(const Tensor& y, const Tensor& x, const Linear& w) override { linears_.run(y, x, w, {}, false); }
  void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) override {
    linears_.run(h, x, w, gate, true);
  }
  void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) override { table_.rms_norm(y, h, norm, threads_); }
  void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                  const Rope& rope) override {
    table_.split_rope(q, cache, slots, qkv, heads, rope, threads_);
  }
  void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Visible& visible,
                 const Heads& heads) override {
    void* scratch = scratch_.reserve(table_.attention_scratch(q.rows, cache.keys.rows, heads, threads_));
    table_.attention(y, q, cache, visible.ranges, heads, scratch, threads_);
  }
  void swiglu(const Tensor& y, const Tensor& x) override { table_.swiglu(y, x, threads_); }
  void silu(const Tensor& y, const Tensor& x) override { table_.silu(y, x, threads_); }
  void gelu(const Tensor& y, const Tensor& x) override { table_.gelu(y, x, threads_); }
  void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) override {
    table_.gather_rows(y, x, index, threads_);
  }
  void cut_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels,
                   const PatchGeometry& geometry) override {
    if (y.dtype == DType::bf16) cut_all_patches<BFloat16>(y, pixels, levels, geometry, threads_);
    else cut_all_patches<float>(y, pixels, levels, geometry, threads_);
  }
  void euler_step(const Tensor& x, const Tensor& v, float dt) override { table_.euler_step(x, v, dt, threads_); }

 private:
  Linears linears_;
  const VectorKernels& table_;
  int threads_;
  Scratch scratch_;  // attention's
};

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
