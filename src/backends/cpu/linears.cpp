#include "backends/cpu/linears.h"

#include <omp.h>

#include <compare>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>

namespace nervus {
namespace {

using dnnl::matmul;
using dnnl::memory;

// The rows that the layout of a weight is asked for; products of any number of rows use it.
constexpr std::int64_t packing_rows = 64;
// Kept primitives: one for every weight shape and number of rows in use. Far more than a policy's calls have.
constexpr std::size_t primitives_kept = 1024;

enum class Accumulate { none, add, gated_add };

// What a primitive depends on.
struct Product {
  std::int64_t rows = 0;
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  DType x = DType::f32;
  DType y = DType::f32;
  bool bias = false;
  Accumulate accumulate = Accumulate::none;

  auto operator<=>(const Product&) const = default;
};

struct PackedWeight {
  Memory data;
  memory::desc layout;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc matrix(std::int64_t rows, std::int64_t columns, DType dtype) {
  return {{rows, columns}, type_of(dtype), memory::format_tag::ab};
}

memory::desc any_layout(std::int64_t inputs, std::int64_t outputs, DType dtype) {
  return {{inputs, outputs}, type_of(dtype), memory::format_tag::any};
}

matmul::primitive_desc describe(const Product& p, const memory::desc& weight) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops after;
  if (p.accumulate == Accumulate::gated_add) {
    after.append_binary(dnnl::algorithm::binary_mul, matrix(1, p.outputs, DType::f32));
  }
  if (p.accumulate != Accumulate::none) after.append_sum(1.0f);
  attributes.set_post_ops(after);
  const memory::desc x = matrix(p.rows, p.inputs, p.x);
  const memory::desc y = matrix(p.rows, p.outputs, p.y);
  const memory::desc bias = matrix(1, p.outputs, DType::f32);
#if DNNL_VERSION_MAJOR >= 3
  if (p.bias) return {engine(), x, weight, bias, y, attributes};
  return {engine(), x, weight, y, attributes};
#else
  if (p.bias) return {matmul::desc(x, weight, bias, y), attributes, engine()};
  return {matmul::desc(x, weight, y), attributes, engine()};
#endif
}

// oneDNN divides its work among the calling thread's OpenMP threads.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadCount() { omp_set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace

class Linears::Primitives {
 public:
  void run(const Tensor& y, const Tensor& x, const Linear& w, const Tensor& gate, Accumulate accumulate) {
    const Product product{x.rows, w.inputs, w.outputs, x.dtype, y.dtype, static_cast<bool>(w.bias), accumulate};
    const auto& weight = *static_cast<const PackedWeight*>(w.weight.get());
    const Ready& ready = prepare(product, weight.layout);
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, over(ready.description.src_desc(), x.data)},
        {DNNL_ARG_WEIGHTS, over(weight.layout, weight.data.get())},
        {DNNL_ARG_DST, over(ready.description.dst_desc(), y.data)},
        {DNNL_ARG_SCRATCHPAD, over(ready.description.scratchpad_desc(), scratch_.get())}};
    if (w.bias) arguments.emplace(DNNL_ARG_BIAS, over(matrix(1, w.outputs, DType::f32), w.bias.data));
    if (accumulate == Accumulate::gated_add) {
      arguments.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1,
                        over(matrix(1, w.outputs, DType::f32), gate.data));
    }
    ready.primitive.execute(stream_, arguments);
    stream_.wait();
  }

  void pack(void* target, const memory::desc& layout, void* rows, DType dtype) {
    const memory::dims dims = layout.dims();
    memory from = over({dims, type_of(dtype), memory::format_tag::ba}, rows);
    memory to = over(layout, target);
    dnnl::reorder(from, to).execute(stream_, from, to);
    stream_.wait();
  }

 private:
  struct Ready {
    matmul::primitive_desc description;
    matmul primitive;
  };

  static memory over(const memory::desc& layout, void* data) { return {layout, engine(), data}; }

  const Ready& prepare(const Product& product, const memory::desc& weight) {
    const auto found = ready_.find(product);
    if (found != ready_.end()) return found->second;
    if (ready_.size() >= primitives_kept) ready_.clear();
    Ready made;
    made.description = describe(product, weight);
    made.primitive = matmul(made.description);
    const auto bytes = static_cast<std::int64_t>(made.description.scratchpad_desc().get_size());
    if (bytes > scratch_bytes_) {
      scratch_ = allocate_memory(bytes);
      scratch_bytes_ = bytes;
    }
    return ready_.emplace(product, std::move(made)).first->second;
  }

  dnnl::stream stream_{engine()};
  std::map<Product, Ready> ready_;
  Memory scratch_;
  std::int64_t scratch_bytes_ = 0;
};

Linears::Linears(int threads) : threads_(threads), primitives_(std::make_unique<Primitives>()) {}
Linears::~Linears() = default;

std::string Linears::library() {
  const dnnl_version_t& version = *dnnl_version();
  return "oneDNN " + std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
         std::to_string(version.patch);
}

bool Linears::supports(DType dtype) {
  try {
    const Product product{packing_rows, 64, 64, dtype, dtype, false, Accumulate::none};
    const std::string implementation = describe(product, any_layout(64, 64, dtype)).impl_info_str();
    return !implementation.starts_with("ref");
  } catch (const dnnl::error&) {
    return false;
  }
}

std::shared_ptr<const void> Linears::pack(const LinearSource& source, DType dtype, std::int64_t& bytes) {
  const ThreadCount scope(threads_);
  const std::int64_t needed = source.outputs * source.inputs * static_cast<std::int64_t>(size_of(dtype));
  if (needed > staging_bytes_) {
    staging_.reset();
    staging_ = allocate_memory(needed);
    staging_bytes_ = needed;
  }
  source.read_weight(dtype, staging_.get());
  const Product product{packing_rows, source.inputs, source.outputs, dtype, dtype, false, Accumulate::none};
  auto packed = std::make_shared<PackedWeight>();
  packed->layout = describe(product, any_layout(source.inputs, source.outputs, dtype)).weights_desc();
  const auto packed_bytes = static_cast<std::int64_t>(packed->layout.get_size());
  packed->data = allocate_memory(packed_bytes);
  primitives_->pack(packed->data.get(), packed->layout, staging_.get(), dtype);
  bytes += packed_bytes;
  return packed;
}

void Linears::multiply(const Tensor& y, const Tensor& x, const Linear& w) {
  const ThreadCount scope(threads_);
  staging_.reset();
  staging_bytes_ = 0;
  primitives_->run(y, x, w, {}, Accumulate::none);
}

void Linears::multiply_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) {
  const ThreadCount scope(threads_);
  primitives_->run(h, x, w, gate, gate ? Accumulate::gated_add : Accumulate::add);
}

}  // namespace nervus
