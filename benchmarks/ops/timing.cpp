#include <omp.h>

#include <algorithm>
#include <chrono>
#include <oneapi/dnnl/dnnl.hpp>

#include "bench.h"

namespace nervus {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double time_of(const std::function<void()>& call) {
  const double start = now();
  call();
  return now() - start;
}

// FLOP/s of one thread's loop over 16 independent sums, in the widest vectors of the processor.
double multiply_adds(double& sink) {
  constexpr int sums = 16;
  constexpr int lanes = 16;
  constexpr std::int64_t steps = 1 << 21;
  typedef float Vector __attribute__((vector_size(4 * lanes)));
  Vector total[sums];
  for (int i = 0; i < sums; ++i) total[i] = Vector{} + 1e-3f * static_cast<float>(i);
  const Vector factor = Vector{} + 0.999999f;
  const double start = now();
  for (std::int64_t k = 0; k < steps; ++k) {
    for (int i = 0; i < sums; ++i) total[i] = total[i] * factor + factor;
  }
  const double seconds = now() - start;
  for (int i = 0; i < sums; ++i) sink += static_cast<double>(total[i][0]);
  return 2.0 * sums * lanes * static_cast<double>(steps) / seconds;
}

double fma_peak(int threads) {
  double best = 0.0;
  double sink = 0.0;
  for (int round = 0; round < 5; ++round) {
    double total = 0.0;
#pragma omp parallel num_threads(threads) reduction(+ : total, sink)
    total += multiply_adds(sink);
    best = std::max(best, total);
  }
  return sink == 0.125 ? 0.0 : best;  // `sink` is used, so the loop stays
}

double matrix_peak(int threads, dnnl::memory::data_type type) {
  using dnnl::memory;
  constexpr std::int64_t size = 1536;
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc any({size, size}, type, memory::format_tag::any);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(engine, any, any, any);
#else
  const dnnl::matmul::primitive_desc description({any, any, any}, engine);
#endif
  memory x(description.src_desc(), engine);
  memory w(description.weights_desc(), engine);
  memory y(description.dst_desc(), engine);
  std::fill_n(static_cast<char*>(x.get_data_handle()), description.src_desc().get_size(), char{0x3c});
  std::fill_n(static_cast<char*>(w.get_data_handle()), description.weights_desc().get_size(), char{0x3c});
  const dnnl::matmul product(description);
  double best = 1e9;
  for (int round = 0; round < 8; ++round) {
    best = std::min(best, time_of([&] {
                      product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
                      stream.wait();
                    }));
  }
  omp_set_num_threads(before);
  return 2.0 * size * size * size / best;
}

double copy_bandwidth(int threads) {
  constexpr std::int64_t count = std::int64_t{1} << 25;
  std::vector<float> from(count, 1.0f);
  std::vector<float> to(count);
  double best = 1e9;
  for (int round = 0; round < 4; ++round) {
    best = std::min(best, time_of([&] {
#pragma omp parallel for num_threads(threads) schedule(static)
                      for (std::int64_t part = 0; part < 64; ++part) {
                        std::copy_n(from.data() + part * (count / 64), count / 64, to.data() + part * (count / 64));
                      }
                    }));
  }
  return 8.0 * count / best;
}

}  // namespace

Peaks measure_peaks(int threads, bool bf16) {
  return {.f32_flops = std::max(fma_peak(threads), matrix_peak(threads, dnnl::memory::data_type::f32)),
          .bf16_flops = bf16 ? matrix_peak(threads, dnnl::memory::data_type::bf16) : 0.0,
          .bandwidth = copy_bandwidth(threads)};
}

std::vector<double> time_in_turns(const std::vector<std::function<void()>>& calls, double seconds) {
  constexpr std::size_t most = 2000;
  constexpr std::size_t least = 5;
  std::vector<std::vector<double>> times(calls.size());
  for (const auto& call : calls) call();
  const double start = now();
  while (times[0].size() < most && (times[0].size() < least || now() - start < seconds)) {
    for (std::size_t i = 0; i < calls.size(); ++i) times[i].push_back(time_of(calls[i]));
  }
  std::vector<double> medians;
  for (auto& samples : times) {
    std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2), samples.end());
    medians.push_back(samples[samples.size() / 2]);
  }
  return medians;
}

}  // namespace nervus
