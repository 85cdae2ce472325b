#include "backends/cpu/linears.h"

#include <omp.h>

#include <compare>
#include <cstring>
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
  memory view;  // of `data` in oneDNN's layout; empty where the data are panels
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::desc matrix(std::int64_t rows, std::int64_t columns, DType dtype,
                    memory::format_tag layout = memory::format_tag::ab) {
  return {{rows, columns}, dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32, layout};
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

// A product whose weight has the layout that oneDNN likes best.
matmul::primitive_desc describe_best(std::int64_t inputs, std::int64_t outputs, DType dtype) {
  return describe({packing_rows, inputs, outputs, dtype, dtype, false, Accumulate::none},
                  matrix(inputs, outputs, dtype, memory::format_tag::any));
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
    if (x.rows == 1) return run_row(y, x, w, gate, accumulate);
    const auto& weight = *static_cast<const PackedWeight*>(w.weight.get());
    const Product product{x.rows, w.inputs, w.outputs, x.dtype, y.dtype, static_cast<bool>(w.bias), accumulate};
    Ready& ready = prepare(product, weight.view.get_desc());
    auto& arguments = ready.arguments;
    arguments.at(DNNL_ARG_SRC).set_data_handle(x.data);
    arguments.at(DNNL_ARG_DST).set_data_handle(y.data);
    arguments.at(DNNL_ARG_SCRATCHPAD).set_data_handle(scratch_.data());
    if (w.bias) arguments.at(DNNL_ARG_BIAS).set_data_handle(w.bias.data);
    if (accumulate == Accumulate::gated_add) arguments.at(gate_argument).set_data_handle(gate.data);
    arguments[DNNL_ARG_WEIGHTS] = weight.view;
    ready.primitive.execute(stream_, arguments);
    stream_.wait();
  }

  void pack(const memory& target, void* rows, std::int64_t inputs, std::int64_t outputs, DType dtype) {
    memory from(matrix(inputs, outputs, dtype, memory::format_tag::ba), engine(), rows);
    memory to = target;
    dnnl::reorder(from, to).execute(stream_, from, to);
    stream_.wait();
  }

 private:
  static constexpr int gate_argument = DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1;

  struct Ready {
    matmul primitive;
    std::unordered_map<int, memory> arguments;  // their data are set at every call
  };

  // One row, computed twice: some versions sum a single row in an order of its own.
  void run_row(const Tensor& y, const Tensor& x, const Linear& w, const Tensor& gate, Accumulate accumulate) {
    row_x_.resize(static_cast<std::size_t>(2 * x.bytes()));
    row_y_.resize(static_cast<std::size_t>(2 * y.bytes()));
    for (const std::int64_t half : {0, 1}) {
      std::memcpy(row_x_.data() + half * x.bytes(), x.data, static_cast<std::size_t>(x.bytes()));
      std::memcpy(row_y_.data() + half * y.bytes(), y.data, static_cast<std::size_t>(y.bytes()));
    }
    run({row_y_.data(), y.dtype, 2, y.columns}, {row_x_.data(), x.dtype, 2, x.columns}, w, gate, accumulate);
    std::memcpy(y.data, row_y_.data(), static_cast<std::size_t>(y.bytes()));
  }

  Ready& prepare(const Product& product, const memory::desc& weight) {
    const auto found = ready_.find(product);
    if (found != ready_.end()) return found->second;
    if (ready_.size() >= primitives_kept) ready_.clear();
    const matmul::primitive_desc description = describe(product, weight);
    const memory::desc scratch = description.scratchpad_desc();
    scratch_.reserve(static_cast<std::int64_t>(scratch.get_size()));
    Ready made{matmul(description), {}};
    const memory::desc row = matrix(1, product.outputs, DType::f32);
    for (const auto& [argument, layout] : {std::pair{DNNL_ARG_SRC, description.src_desc()},
                                           {DNNL_ARG_DST, description.dst_desc()},
                                           {DNNL_ARG_SCRATCHPAD, scratch},
                                           {DNNL_ARG_BIAS, row},
                                           {gate_argument, row}}) {
      made.arguments.emplace(argument, memory(layout, engine(), nullptr));
    }
    if (!product.bias) made.arguments.erase(DNNL_ARG_BIAS);
    if (product.accumulate != Accumulate::gated_add) made.arguments.erase(gate_argument);
    return ready_.emplace(product, std::move(made)).first->second;
  }

  dnnl::stream stream_{engine()};
  std::map<Product, Ready> ready_;
  Scratch scratch_;
  std::vector<std::byte> row_x_;
  std::vector<std::byte> row_y_;
};

Linears::Linears(int threads, const VectorKernels* table)
    : threads_(threads), table_(table), primitives_(std::make_unique<Primitives>()) {}
Linears::~Linears() = default;

std::string Linears::library() {
  const dnnl_version_t& version = *dnnl_version();
  return "oneDNN " + std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
         std::to_string(version.patch);
}

bool Linears::supports(DType dtype) {
  try {
    const std::string implementation = describe_best(packing_rows, packing_rows, dtype).impl_info_str();
    return implementation.find("brg") != std::string::npos && implementation.find("amx") == std::string::npos;
  } catch (const dnnl::error&) {
    return false;
  }
}

template <typename T>
void Linears::pack_panels(T* target, const LinearSource& source) const {
  const auto* rows = static_cast<const T*>(staging_.data());
  const std::int64_t width = table_->panel;
#pragma omp parallel for num_threads(threads_) schedule(static)
  for (std::int64_t first = 0; first < source.outputs; first += width) {
    T* panel = target + first * source.inputs;
    for (std::int64_t k = 0; k < source.inputs; ++k) {
      for (std::int64_t i = 0; i < width; ++i) {
        panel[k * width + i] = first + i < source.outputs ? rows[(first + i) * source.inputs + k] : T{};
      }
    }
  }
}

std::shared_ptr<const void> Linears::pack(const LinearSource& source, DType dtype, std::int64_t& bytes) {
  const ThreadCount scope(threads_);
  const std::int64_t needed = source.outputs * source.inputs * static_cast<std::int64_t>(size_of(dtype));
  source.read_weight(dtype, staging_.reserve(needed));
  auto packed = std::make_shared<PackedWeight>();
  if (table_ != nullptr) {
    const std::int64_t panels = (source.outputs + table_->panel - 1) / table_->panel;
    const std::int64_t packed_bytes =
        panels * table_->panel * source.inputs * static_cast<std::int64_t>(size_of(dtype));
    packed->data = allocate_memory(packed_bytes);
    if (dtype == DType::f32) pack_panels(static_cast<float*>(packed->data.get()), source);
    else pack_panels(static_cast<BFloat16*>(packed->data.get()), source);
    bytes += packed_bytes;
    return packed;
  }
  const memory::desc layout = describe_best(source.inputs, source.outputs, dtype).weights_desc();
  packed->data = allocate_memory(static_cast<std::int64_t>(layout.get_size()));
  packed->view = memory(layout, engine(), packed->data.get());
  primitives_->pack(packed->view, staging_.data(), source.inputs, source.outputs, dtype);
  bytes += static_cast<std::int64_t>(layout.get_size());
  return packed;
}

void Linears::run(const Tensor& y, const Tensor& x, const Linear& w, const Tensor& gate, bool add) {
  staging_.release();
  if (table_ == nullptr) {
    const ThreadCount scope(threads_);
    const Accumulate accumulate = gate ? Accumulate::gated_add : Accumulate::add;
    primitives_->run(y, x, w, gate, add ? accumulate : Accumulate::none);
    return;
  }
  const auto& weight = *static_cast<const PackedWeight*>(w.weight.get());
  table_->multiply({.y = y,
                    .x = x,
                    .panels = weight.data.get(),
                    .bias = w.bias ? w.bias.as<float>() : nullptr,
                    .gate = gate ? gate.as<float>() : nullptr,
                    .add = add},
                   threads_);
}

}  // namespace nervus
