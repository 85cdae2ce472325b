#include "backends/cuda/linears.h"

#include <algorithm>

#include "core/message.h"

namespace nervus::cuda {
namespace {

constexpr std::int64_t workspace_bytes = std::int64_t{32} << 20;
constexpr int most_candidates = 8;
constexpr int repetitions = 4;
// Overwritten between two measurements, so that weights come from memory as they do in a model.
constexpr std::int64_t cold_bytes = std::int64_t{128} << 20;
// Of activations, which may be some rows of a larger tensor, in bytes.
constexpr std::uint32_t row_alignment = 16;
// A candidate replaces the library's own first choice only if it is faster by more than the clock's noise.
constexpr float worth_changing = 0.97f;

struct PackedWeight {
  Tensor weight;  // [N, K]
  Tensor bias;    // [1, N] in the type of the output, as the library wants it, or empty
};

// The one place that says how a format is computed with.
cudaDataType_t library_type(DType dtype) {
  if (dtype == DType::bf16) return CUDA_R_16BF;
  check(dtype == DType::f32, "linears compute on f32 and bf16");
  return CUDA_R_32F;
}

// The library's fast kernels read 16 bytes at once.
bool fits_library(const Tensor& x, std::int64_t outputs) {
  const auto whole = 16 / static_cast<std::int64_t>(size_of(x.dtype));
  return x.columns % whole == 0 && outputs % whole == 0;
}

BlasLayout make_layout(const Tensor& x) {  // the library counts in columns: a row-major matrix is its transpose
  BlasLayout layout;
  check_cublas(cublasLtMatrixLayoutCreate(layout.out(), library_type(x.dtype), static_cast<std::uint64_t>(x.columns),
                                          static_cast<std::uint64_t>(x.rows), x.columns),
               "describing a matrix");
  return layout;
}

template <typename T>
void set(const BlasProduct& product, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulDescSetAttribute(product.get(), attribute, &value, sizeof(value)), "describing a product");
}

template <typename T>
void set(const BlasPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
               "describing a preference");
}

int id_of(const cublasLtMatmulAlgo_t& algorithm) {
  int id = 0;
  std::size_t written = 0;
  check_cublas(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof(id), &written),
               "asking for an algorithm");
  return id;
}

}  // namespace

struct Linears::Operands {
  Tensor y;
  Tensor x;
  Tensor weight;
  Tensor bias;
  bool add;

  Key key() const {
    return {weight.rows,
            weight.columns,
            x.rows,
            static_cast<std::int64_t>(x.dtype),
            static_cast<std::int64_t>(y.dtype),
            (bias ? 2 : 0) + (add ? 1 : 0)};
  }
};

struct Linears::Plan {
  BlasProduct product;
  BlasLayout weight, x, y;
  std::vector<cublasLtMatmulHeuristicResult_t> candidates;  // empty: the plain kernel
  cublasLtMatmulAlgo_t algorithm{};
  float microseconds = 0;
};

Linears::Linears(const Stream& stream, Arena& arena) : stream_(stream), arena_(arena) {
  stream.use();
  check_cublas(cublasLtCreate(library_.out()), "starting the library");
  workspace_ = arena.allocate(workspace_bytes);
}

std::shared_ptr<const void> Linears::pack(const LinearSource& source, const Linear& w, Staging& staging) {
  auto packed = std::make_shared<PackedWeight>();
  packed->weight = {nullptr, w.input.dtype, w.outputs, w.inputs};
  const std::int64_t bytes = packed->weight.bytes();
  packed->weight.data = arena_.allocate(bytes);
  source.read_weight(w.input.dtype, staging.take(bytes));
  staging.copy(packed->weight.data, bytes);
  packed->bias = bias_of(w);
  return packed;
}

// The library wants the bias in the type of the result.
Tensor Linears::bias_of(const Linear& w) {
  Tensor bias = w.bias;
  if (!bias || w.output == bias.dtype) return bias;
  bias.dtype = w.output;
  bias.data = arena_.allocate(bias.bytes());
  gather_rows(stream_, bias, w.bias, {});
  return bias;
}

std::shared_ptr<const void> Linears::with_bias(const Linear& w) {
  auto packed = std::make_shared<PackedWeight>(*static_cast<const PackedWeight*>(w.weight.get()));
  packed->bias = bias_of(w);
  return packed;
}

const Linears::Plan& Linears::plan_for(const Operands& operands) {
  std::shared_ptr<Plan>& plan = plans_[operands.key()];
  if (plan) return *plan;
  auto made = std::make_shared<Plan>();
  check_cublas(cublasLtMatmulDescCreate(made->product.out(), CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  set(made->product, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (operands.bias) {
    set(made->product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(made->product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, library_type(operands.bias.dtype));
  }
  made->weight = make_layout(operands.weight);
  made->x = make_layout(operands.x);
  made->y = make_layout(operands.y);
  if (fits_library(operands.x, operands.weight.rows)) {
    BlasPreference preference;
    check_cublas(cublasLtMatmulPreferenceCreate(preference.out()), "describing a preference");
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::size_t>(workspace_bytes));
    // Parts of a sum are added in float32 and in one order, never by atomics and never in bf16.
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    for (const auto rows_of : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      set(preference, rows_of, row_alignment);
    }
    made->candidates.resize(most_candidates);
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        library_.get(), made->product.get(), made->weight.get(), made->x.get(), made->y.get(), made->y.get(),
        preference.get(), most_candidates, made->candidates.data(), &found);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_cublas(status, "choosing an algorithm");
    made->candidates.resize(static_cast<std::size_t>(found));
    if (found > 0) measure(*made, operands);
  }
  plan = std::move(made);
  return *plan;
}

void Linears::measure(Plan& plan, const Operands& operands) {
  const DeviceBuffer result = device_buffer(operands.y.bytes());
  const DeviceBuffer cold = device_buffer(cold_bytes);
  Operands trial = operands;
  trial.y.data = result.get();
  const Event begin = make_event(cudaEventDefault);
  const Event end = make_event(cudaEventDefault);
  for (const cublasLtMatmulHeuristicResult_t& candidate : plan.candidates) {
    float fastest = 0;
    for (int i = 0; i < repetitions; ++i) {
      check_cuda(cudaMemsetAsync(cold.get(), i, cold_bytes, stream_.get()), "clearing the cache");
      check_cuda(cudaEventRecord(begin.get(), stream_.get()), "noting the time");
      multiply(plan, trial, candidate.algo);
      check_cuda(cudaEventRecord(end.get(), stream_.get()), "noting the time");
      check_cuda(cudaEventSynchronize(end.get()), "measuring a product");
      float milliseconds = 0;
      check_cuda(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "measuring a product");
      if (i == 0 || milliseconds < fastest) fastest = milliseconds;
    }
    if (plan.microseconds == 0 || fastest * 1000 < plan.microseconds * worth_changing) {
      plan.algorithm = candidate.algo;
      plan.microseconds = fastest * 1000;
    }
  }
}

void Linears::multiply(const Plan& plan, const Operands& operands, const cublasLtMatmulAlgo_t& algorithm) const {
  const float one = 1.0f;
  const float kept = operands.add ? 1.0f : 0.0f;
  if (operands.bias) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias.data);
  check_cublas(
      cublasLtMatmul(library_.get(), plan.product.get(), &one, operands.weight.data, plan.weight.get(), operands.x.data,
                     plan.x.get(), &kept, operands.y.data, plan.y.get(), operands.y.data, plan.y.get(), &algorithm,
                     workspace_, static_cast<std::size_t>(workspace_bytes), stream_.get()),
      "multiplying");
}

// f32, until the next call. It may grow only before graphs are recorded: those hold its address, so what it was stays.
Tensor Linears::scratch(std::int64_t rows, std::int64_t columns) {
  Tensor sum{nullptr, DType::f32, rows, columns};
  if (sum.bytes() > scratch_bytes_) {
    scratch_ = arena_.allocate(sum.bytes());
    scratch_bytes_ = sum.bytes();
  }
  sum.data = scratch_;
  return sum;
}

void Linears::run(const Tensor& y, const Tensor& x, const Linear& w, const Tensor& gate, bool add) {
  stream_.use();
  const auto& packed = *static_cast<const PackedWeight*>(w.weight.get());
  Operands operands{.y = y, .x = x, .weight = packed.weight, .bias = packed.bias, .add = add};
  if (gate) operands = {.y = y, .x = x, .weight = packed.weight, .bias = {}, .add = false};
  const Plan& plan = plan_for(operands);
  if (plan.candidates.empty()) {
    plain_linear(stream_, {.y = y, .x = x, .bias = w.bias, .gate = gate, .add = add}, packed.weight);
    return;
  }
  if (gate) operands.y = scratch(y.rows, y.columns);
  multiply(plan, operands, plan.algorithm);
  if (gate) gated_add(stream_, y, operands.y, w.bias, gate);
}

std::vector<std::string> Linears::plan() const {
  std::vector<std::string> lines;
  for (const auto& [key, plan] : plans_) {
    const std::string shape = concat(key[0], " x ", key[1], ", ", plural(key[2], "row"), ": ");
    if (plan->candidates.empty()) {
      lines.push_back(shape + "plain kernel");
      continue;
    }
    const auto tenths = static_cast<long long>(plan->microseconds * 10.0f);
    lines.push_back(concat(shape, "cuBLASLt algorithm ", id_of(plan->algorithm), ", ", tenths / 10, ".", tenths % 10,
                           " us, the best of ", plan->candidates.size()));
  }
  return lines;
}

}  // namespace nervus::cuda
