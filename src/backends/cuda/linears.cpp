#include "backends/cuda/linears.h"

#include <algorithm>
#include <cstring>

#include "backends/cuda/blas.h"
#include "backends/cuda/cold_clock.h"
#include "backends/cuda/wide/products.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

constexpr std::int64_t workspace_bytes = std::int64_t{32} << 20;
constexpr int most_candidates = 8;
// Of activations, which may be some rows of a larger tensor, in bytes.
constexpr std::uint32_t row_alignment = 16;
// A candidate replaces the library's own first choice only if it is faster by more than the clock's noise.
constexpr float worth_changing = 0.97f;
constexpr std::int64_t hand_over = 1000;  // nanoseconds
// Of e4m3: sums stay in the matrix unit's 14 bits or so; otherwise they are moved to float32 every few products.
constexpr std::int8_t fast_accumulation = 1;

// The library's fast kernels read 16 bytes at once.
bool fits_library(const Tensor& x, std::int64_t outputs) {
  const auto whole = 16 / static_cast<std::int64_t>(size_of(x.dtype));
  return x.columns % whole == 0 && outputs % whole == 0;
}

cublasLtMatmulAlgo_t algorithm_of(const Choice& choice) {
  cublasLtMatmulAlgo_t algorithm;
  static_assert(sizeof(algorithm) == sizeof(choice.algorithm));
  std::memcpy(&algorithm, choice.algorithm.data(), sizeof(algorithm));
  return algorithm;
}

}  // namespace

struct Linears::PackedWeight {
  Tensor weight;  // [N, K]
  Tensor scale;   // of e4m3: f32 [1, N], the output's scale times that of the input
  Tensor bias;    // [1, N] in the type that the library wants, or empty
};

struct Linears::Operands {
  Tensor y;
  Tensor x;
  Tensor weight;
  Tensor scale;
  Tensor bias;
  bool add;
  bool stream;  // it is added, if not by the product

  // Whether the library may have the sums alone: it does not write bf16 from factors in f16, nor everywhere apply a
  // scale an output.
  bool has_rest() const { return scale || x.dtype == DType::f16; }
  // The sums alone, in float32.
  Operands sums() const {
    Operands bare{.y = y, .x = x, .weight = weight, .scale = {}, .bias = {}, .add = false, .stream = stream};
    bare.y.dtype = DType::f32;
    return bare;
  }
  Key key() const {
    return {weight.rows,
            weight.columns,
            x.rows,
            static_cast<std::int64_t>(x.dtype),
            static_cast<std::int64_t>(y.dtype),
            (bias ? 2 : 0) + (add ? 1 : 0) + (stream ? 4 : 0)};
  }
  // The key for Choices: "linear 3840 1280 768 bf16 f32 6".
  std::string shape() const {
    return concat(beginning_of(WideRole::add), weight.rows, " ", weight.columns, " ", x.rows, " ", name_of(x.dtype),
                  " ", name_of(y.dtype), " ", key().back());
  }
  bool fit_library() const { return x.dtype != DType::i8 && fits_library(x, weight.rows); }
};

struct Linears::Plan {
  BlasProduct product;
  BlasLayout weight, x, y;
  Choice choice;
  cublasLtMatmulAlgo_t algorithm{};
};

Linears::Linears(const Stream& stream, Arena& arena, Choices& choices)
    : stream_(stream), arena_(arena), choices_(choices) {
  workspace_ = arena.allocate(workspace_bytes);
}

// Started by the first product, so that a load that is refused before ends at once.
cublasLtHandle_t Linears::library() {
  if (!library_) check_cublas(cublasLtCreate(library_.out()), "starting the library");
  return library_.get();
}

std::shared_ptr<const void> Linears::pack(const LinearSource& source, const Linear& w, Staging& staging) {
  auto packed = std::make_shared<PackedWeight>();
  packed->weight = {nullptr, w.input.dtype, w.outputs, w.inputs};
  const std::int64_t bytes = packed->weight.bytes();
  packed->weight.data = arena_.allocate(bytes);
  packed->bias = bias_of(w);
  if (size_of(w.input.dtype) > 1) {
    source.read_weight(w.input.dtype, staging.take(bytes));
    staging.copy(packed->weight.data, bytes);
    take_scale(stream_, packed->weight, w);
    return packed;
  }
  Tensor rows{nullptr, DType::bf16, w.outputs, w.inputs};
  source.read_weight(rows.dtype, staging.take(rows.bytes()));
  const DeviceBuffer memory = device_buffer(rows.bytes());
  rows.data = memory.get();
  staging.copy(rows.data, rows.bytes());
  packed->scale = {nullptr, DType::f32, 1, w.outputs};
  packed->scale.data = arena_.allocate(packed->scale.bytes());
  quantise_rows(stream_, packed->weight, packed->scale, rows, w.input.scale);
  stream_.synchronize();  // before `memory` goes
  return packed;
}

// The library wants the bias in the type of the result, or bf16 if factors are in e4m3; from f16 it makes f32 alone.
Tensor Linears::bias_of(const Linear& w) {
  Tensor bias = w.bias;
  if (w.input.dtype == DType::i8) return bias;  // which the library does not multiply
  const DType type = w.input.dtype == DType::e4m3 ? DType::bf16 : w.input.dtype == DType::f16 ? DType::f32 : w.output;
  if (!bias || type == bias.dtype) return bias;
  bias.dtype = type;
  bias.data = arena_.allocate(bias.bytes());
  gather_rows(stream_, bias, w.bias, {});
  return bias;
}

std::shared_ptr<const void> Linears::with_bias(const Linear& w) {
  auto packed = std::make_shared<PackedWeight>(*static_cast<const PackedWeight*>(w.weight.get()));
  packed->bias = bias_of(w);
  return packed;
}

const Linears::Plan& Linears::plan_for(const Operands& operands, const LinearCall& call) {
  std::shared_ptr<Plan>& plan = plans_[operands.key()];
  if (plan) return *plan;
  auto made = std::make_shared<Plan>();
  made->choice = choices_.choose(
      operands.shape(), [&](const Choice& kept) { return fits(kept, operands, call); },
      [&] { return fastest(operands, call); });
  if (made->choice.kernel == Choice::Kernel::library) {
    describe(*made, made->choice.apart ? operands.sums() : operands);
    made->algorithm = algorithm_of(made->choice);
  }
  plan = std::move(made);
  return *plan;
}

// Whether one of our own tiles may add it to a residual stream.
bool Linears::has_tiles(const Operands& operands, const LinearCall& call) const {
  const Tensor& weight = operands.weight;
  return call.add && stream_.major() == 9 && call.y.dtype == DType::f32 &&
         wide_fits(WideRole::add, weight.rows, weight.columns, 0, weight.dtype);
}

bool Linears::fits(const Choice& choice, const Operands& operands, const LinearCall& call) {
  if (choice.kernel == Choice::Kernel::plain) return true;
  if (choice.kernel == Choice::Kernel::tile)
    return has_tiles(operands, call) && is_tile_for(choice, WideRole::add, operands.weight);
  if (!operands.fit_library() || (choice.apart && !operands.has_rest())) return false;
  return multiplies(choice.apart ? operands.sums() : operands, algorithm_of(choice));
}

// Whether the library computes such a product with this algorithm, in the order that is asked for.
bool Linears::multiplies(const Operands& operands, const cublasLtMatmulAlgo_t& algorithm) {
  Plan plan;
  if (!describe(plan, operands)) return false;
  cublasLtMatmulHeuristicResult_t needs{};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(library(), plan.product.get(), plan.weight.get(), plan.x.get(),
                                                        plan.y.get(), plan.y.get(), &algorithm, &needs);
  if (status != CUBLAS_STATUS_SUCCESS || needs.workspaceSize > workspace_bytes || !sums_in_order(algorithm))
    return false;
  const DeviceBuffer result = cleared_buffer(stream_, operands.y.bytes());
  Operands trial = operands;
  trial.y.data = result.get();
  return multiply(plan, trial, algorithm) == CUBLAS_STATUS_SUCCESS;
}

// False where the library is too old for the scales.
bool Linears::describe(Plan& plan, const Operands& operands) {
  check_cublas(cublasLtMatmulDescCreate(plan.product.out(), CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  set(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (operands.x.dtype == DType::e4m3) set(plan.product, CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast_accumulation);
  if (operands.scale && !set_scales(plan.product, operands.scale.data, ones(operands.x.rows))) return false;
  if (operands.bias) {
    set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, library_type(operands.bias.dtype));
    set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias.data);
  }
  plan.weight = make_layout(operands.weight);
  plan.x = make_layout(operands.x);
  plan.y = make_layout(operands.y);
  return true;
}

// Of the library's algorithms; the plain kernel where it has none.
Choice Linears::fastest_algorithm(const Operands& operands) {
  Plan plan;
  Choice best;
  if (!describe(plan, operands)) return best;
  BlasPreference preference;
  check_cublas(cublasLtMatmulPreferenceCreate(preference.out()), "describing a preference");
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::size_t>(workspace_bytes));
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction_schemes);
  for (const auto rows_of : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                             CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(preference, rows_of, row_alignment);
  }
  std::vector<cublasLtMatmulHeuristicResult_t> candidates(most_candidates);
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(library(), plan.product.get(), plan.weight.get(), plan.x.get(), plan.y.get(),
                                     plan.y.get(), preference.get(), most_candidates, candidates.data(), &found);
  const bool refused =
      status == CUBLAS_STATUS_NOT_SUPPORTED || (operands.scale && status == CUBLAS_STATUS_INVALID_VALUE);
  if (!refused) check_cublas(status, "choosing an algorithm");
  candidates.resize(refused ? 0 : static_cast<std::size_t>(found));
  if (candidates.empty()) return best;

  const DeviceBuffer result = cleared_buffer(stream_, operands.y.bytes());
  const ColdClock clock(stream_);
  Operands trial = operands;
  trial.y.data = result.get();
  std::erase_if(candidates, [&](const auto& candidate) {  // the library may refuse what it has proposed
    return multiply(plan, trial, candidate.algo) != CUBLAS_STATUS_SUCCESS;
  });
  float least = 0;
  for (const cublasLtMatmulHeuristicResult_t& candidate : candidates) {
    const float time = clock.microseconds([&] { check_cublas(multiply(plan, trial, candidate.algo), "multiplying"); });
    if (least != 0 && time >= least * worth_changing) continue;
    least = time;
    best.kernel = Choice::Kernel::library;
    std::memcpy(best.algorithm.data(), &candidate.algo, best.algorithm.size());
  }
  best.candidates = static_cast<int>(candidates.size());
  best.nanoseconds = nanoseconds_of(least);
  return best;
}

// An own tile is taken where it adds to a residual stream sooner than the library, whose kernels neither begin before
// the kernel ahead ends nor let the next one begin.
Choice Linears::fastest(const Operands& operands, const LinearCall& call) {
  Choice best;
  if (operands.fit_library()) {
    best = fastest_algorithm(operands);
    if (best.kernel == Choice::Kernel::plain && operands.has_rest()) {
      best = fastest_algorithm(operands.sums());
      best.apart = best.kernel == Choice::Kernel::library;
    }
  }
  if (!has_tiles(operands, call)) return best;
  const DeviceBuffer result = cleared_buffer(stream_, call.y.bytes());
  Tensor trial = call.y;
  trial.data = result.get();
  const WideProduct product{call.x, operands.weight, call.scale, call.bias};
  const Choice tile = fastest_tile(stream_, WideRole::add, operands.weight,
                                   [&](const WideTile& t) { wide_linear_add(stream_, t, trial, product, call.gate); });
  const bool sooner = best.kernel == Choice::Kernel::plain || tile.nanoseconds < best.nanoseconds + hand_over;
  return sooner ? tile : best;
}

cublasStatus_t Linears::multiply(const Plan& plan, const Operands& operands, const cublasLtMatmulAlgo_t& algorithm) {
  const float one = 1.0f;
  const float kept = operands.add ? 1.0f : 0.0f;
  if (operands.bias) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias.data);
  if (operands.scale) set(plan.product, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.scale.data);
  return cublasLtMatmul(library(), plan.product.get(), &one, operands.weight.data, plan.weight.get(), operands.x.data,
                        plan.x.get(), &kept, operands.y.data, plan.y.get(), operands.y.data, plan.y.get(), &algorithm,
                        workspace_, static_cast<std::size_t>(workspace_bytes), stream_.get());
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

// f32 [1, at least `count`], all 1. Longer ones may be made only before graphs are recorded, as with scratch().
const void* Linears::ones(std::int64_t count) {
  if (count <= ones_.columns) return ones_.data;
  ones_ = {nullptr, DType::f32, 1, count};
  ones_.data = arena_.allocate(ones_.bytes());
  const std::vector<float> values(static_cast<std::size_t>(count), 1.0f);
  check_cuda(cudaMemcpyAsync(ones_.data, values.data(), static_cast<std::size_t>(ones_.bytes()), cudaMemcpyHostToDevice,
                             stream_.get()),
             "copying scales");
  stream_.synchronize();
  return ones_.data;
}

void Linears::run(const Tensor& y, const Tensor& x, const Linear& w, const Tensor& gate, bool add) {
  stream_.use();
  const auto& packed = *static_cast<const PackedWeight*>(w.weight.get());
  LinearCall call{.y = y, .x = x, .bias = w.bias, .gate = gate, .scale = packed.scale, .add = add};
  Operands operands{
      .y = y, .x = x, .weight = packed.weight, .scale = packed.scale, .bias = packed.bias, .add = add, .stream = add};
  if (gate) operands.bias = {}, operands.add = false;
  const Plan& plan = plan_for(operands, call);
  const Choice& choice = plan.choice;
  if (choice.kernel == Choice::Kernel::tile) {
    return wide_linear_add(stream_, choice.tile, y, {x, packed.weight, packed.scale, w.bias}, gate);
  }
  if (choice.kernel == Choice::Kernel::plain) return plain_linear(stream_, call, packed.weight);
  if (choice.apart) operands = operands.sums();
  else call.scale = {};
  const bool finish = gate || choice.apart;
  if (finish) operands.y = scratch(y.rows, y.columns);
  check_cublas(multiply(plan, operands, plan.algorithm), "multiplying");
  if (finish) finish_linear(stream_, call, operands.y);
}

std::vector<std::string> Linears::plan() const {
  std::vector<std::string> lines;
  for (const auto& [key, plan] : plans_) {
    const auto dtype = static_cast<DType>(key[3]);
    const std::string shape = concat(key[0], " x ", key[1], format_of(dtype), ", ", plural(key[2], "row"), ": ");
    const Choice& choice = plan->choice;
    if (choice.kernel == Choice::Kernel::plain) {
      lines.push_back(shape + "plain kernel");
    } else if (choice.kernel == Choice::Kernel::tile) {
      lines.push_back(concat(shape, "added by tiles of ", name_of(choice.tile), ", ", time_of(choice)));
    } else {
      lines.push_back(concat(shape, "cuBLASLt algorithm ", id_of(plan->algorithm), ", ", time_of(choice),
                             ", the best of ", choice.candidates, choice.apart ? ", and a kernel for the rest" : ""));
    }
  }
  return lines;
}

}  // namespace nervus::cuda
