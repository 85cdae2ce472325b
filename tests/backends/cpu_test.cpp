// Promises of the CPU device alone: the same bits whatever the number of threads and wherever a row stands; memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "backends/cpu/linears.h"
#include "lab.h"

namespace nervus {
namespace {

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The rows [begin, begin + count) of `values`, which has `width` columns.
std::vector<float> rows_of(const std::vector<float>& values, std::int64_t width, std::int64_t begin,
                           std::int64_t count) {
  return {values.begin() + begin * width, values.begin() + (begin + count) * width};
}

struct Product {
  std::int64_t inputs, outputs;
};

// Large enough that a library might split the sums of few rows among threads.
constexpr Product products[] = {{11008, 64}, {3424, 96}, {768, 75}, {75, 768}, {2048, 160}};

// linear and linear_add of 51 and of 208 rows.
std::vector<float> run_linears(Lab& lab, const Product& p) {
  const Linear w = lab.linear(p.inputs, p.outputs, true);
  const Linear wide = lab.linear(p.inputs, p.outputs, false, true);
  std::vector<float> all;
  for (const std::int64_t rows : {51, 208}) {
    const Tensor x = lab.input(w.input.dtype, rows, p.inputs);
    const Tensor y = lab.output(w.output, rows, p.outputs);
    const Tensor h = lab.input(DType::f32, rows, p.outputs);
    lab.kernels().linear(y, x, w);
    lab.kernels().linear_add(h, x, wide, {});
    for (const Tensor& result : {y, h}) {
      const std::vector<float> values = lab.values(result);
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

TEST_CASE("linears: the same bits with 1 to 4 threads") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Candidate& candidate : cpu_candidates(precision)) {
      for (const Product p : products) {
        std::vector<float> first;
        for (const int threads : {1, 2, 3, 4}) {
          const auto device = candidate.make(threads);
          Lab lab(*device, 7);
          const std::vector<float> found = run_linears(lab, p);
          if (first.empty()) first = found;
          CAPTURE(candidate.name);
          CAPTURE(p.inputs);
          CAPTURE(threads);
          CHECK(same_bits(found, first));
        }
      }
    }
  }
}

TEST_CASE("linears: a row's bits depend on neither the number of rows nor its place") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Candidate& candidate : cpu_candidates(precision)) {
      const auto device = candidate.make(2);
      Lab lab(*device, 8);
      for (const Product p : products) {
        const Linear w = lab.linear(p.inputs, p.outputs, true);
        const Tensor x = lab.input(w.input.dtype, 408, p.inputs);
        const Tensor all = lab.output(w.output, 408, p.outputs);
        lab.kernels().linear(all, x, w);
        const std::vector<float> expected = lab.values(all);
        for (const auto& [begin, count] : {std::pair{0, 51}, {357, 51}, {100, 208}, {7, 1}, {407, 1}, {33, 13}}) {
          const Tensor y = lab.output(w.output, count, p.outputs);
          lab.kernels().linear(y, x.slice(begin, count), w);
          CAPTURE(candidate.name);
          CAPTURE(p.inputs);
          CAPTURE(begin);
          CHECK(same_bits(lab.values(y), rows_of(expected, p.outputs, begin, count)));
        }
      }
    }
  }
}

// All kernels but the linears, on rows that are enough for several threads.
std::vector<float> run_others(Lab& lab) {
  const DType act = lab.activation();
  Kernels& kernels = lab.kernels();
  std::vector<float> all;
  const auto keep = [&](const Tensor& y) {
    const std::vector<float> values = lab.values(y);
    all.insert(all.end(), values.begin(), values.end());
  };
  const std::int64_t rows = 130;
  const std::int64_t width = 320;
  const Tensor h = lab.input(DType::f32, rows, width);
  const Tensor x = lab.input(act, rows, width);
  const Tensor y = lab.output(act, rows, width);
  kernels.rms_norm(y, h, {lab.input(DType::f32, 1, width), lab.input(DType::f32, 1, width)});
  keep(y);
  kernels.silu(y, x);
  keep(y);
  kernels.gelu(y, x);
  keep(y);
  const Tensor half = lab.output(act, rows, width / 2);
  kernels.swiglu(half, x);
  keep(half);
  kernels.euler_step(h, lab.input(DType::f32, rows, width), 0.1f);
  keep(h);
  std::vector<std::int32_t> ranges;
  for (std::int32_t r = 0; r < rows; ++r) ranges.insert(ranges.end(), {0, 1 + r, 130, 135 + r % 3});
  const KeyValues cache{lab.input(act, 140, 80), lab.input(act, 140, 80)};
  kernels.attention(y, x, cache, lab.integers(rows, 4, ranges), {8, 2, 40});
  keep(y);
  return all;
}

TEST_CASE("the other kernels: the same bits with 1 to 4 threads") {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Candidate& candidate : cpu_candidates(precision)) {
      std::vector<float> first;
      for (const int threads : {1, 2, 3, 4}) {
        const auto device = candidate.make(threads);
        Lab lab(*device, 9);
        const std::vector<float> found = run_others(lab);
        if (first.empty()) first = found;
        CAPTURE(candidate.name);
        CAPTURE(threads);
        CHECK(same_bits(found, first));
      }
    }
  }
}

TEST_CASE("attention: a row's bits depend neither on the rows beside it nor on the slots' places") {
  const Heads heads{8, 2, 48};
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Candidate& candidate : cpu_candidates(precision)) {
      const auto device = candidate.make(2);
      Lab lab(*device, 10);
      const DType act = lab.activation();
      const std::int64_t rows = 75;
      const std::int64_t slots = 240;
      const std::int64_t shift = 37;
      const KeyValues cache{lab.input(act, slots, 96), lab.input(act, slots, 96)};
      const KeyValues moved{lab.output(act, slots + shift, 96), lab.output(act, slots + shift, 96)};
      lab.kernels().gather_rows(moved.keys.slice(shift, slots), cache.keys, {});
      lab.kernels().gather_rows(moved.values.slice(shift, slots), cache.values, {});
      const Tensor q = lab.input(act, rows, 384);
      std::vector<std::int32_t> ranges;
      std::vector<std::int32_t> moved_ranges;
      for (std::int32_t r = 0; r < rows; ++r) {
        for (const std::int32_t slot : {3, 100 + r, 200, 201 + r / 2}) {
          ranges.push_back(slot);
          moved_ranges.push_back(slot + static_cast<std::int32_t>(shift));
        }
      }
      const Tensor y = lab.output(act, rows, 384);
      lab.kernels().attention(y, q, cache, lab.integers(rows, 4, ranges), heads);
      const std::vector<float> expected = lab.values(y);
      const Tensor places = lab.integers(rows, 4, moved_ranges);
      for (const auto& [begin, count] : {std::pair{0, 1}, {1, 50}, {17, 3}, {40, 35}, {74, 1}}) {
        const Tensor part = lab.output(act, count, 384);
        lab.kernels().attention(part, q.slice(begin, count), moved, places.slice(begin, count), heads);
        CAPTURE(candidate.name);
        CAPTURE(begin);
        CHECK(same_bits(lab.values(part), rows_of(expected, 384, begin, count)));
      }
    }
  }
}

TEST_CASE("memory is counted, aligned and zero") {
  const auto device = make_cpu_device(Precision::f32, 1);
  CHECK(device->memory() == 0);
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{1000}, std::int64_t{5} << 20}) {
    const auto* memory = static_cast<const unsigned char*>(device->allocate(bytes));
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0);
    CHECK(std::all_of(memory, memory + bytes, [](unsigned char x) { return x == 0; }));
  }
  const std::int64_t allocated = device->memory();
  CHECK(allocated == 1001 + (std::int64_t{5} << 20));
  Lab lab(*device, 11);
  const Linear w = lab.linear(64, 128, true);
  CHECK(device->memory() >= allocated + 64 * 128 * 4 + 128 * 4);
  CHECK(w.name == "weight");
  CHECK(static_cast<bool>(w.bias));
}

TEST_CASE("the device says what it is") {
  const auto device = make_cpu_device(Precision::f32, 3);
  CHECK(device->activation() == DType::f32);
  CHECK(device->description().find("cpu (3 threads, ") == 0);
  CHECK((device->description().find("oneDNN ") != std::string::npos) == Linears::supports(DType::f32));
  CHECK_THROWS_WITH_AS(make_cpu_device(Precision::f32, -1), "threads: expected 0 (all cores) or more, found -1", Error);
}

// Run a second time with oneDNN told that the processor has no AVX-512: then products of bf16 are the project's own.
TEST_CASE("every processor computes in bf16") {
  const auto device = make_cpu_device(Precision::bf16, 1);
  CHECK(device->activation() == DType::bf16);
  CHECK((device->description().find("oneDNN ") != std::string::npos) == Linears::supports(DType::bf16));
}

}  // namespace
}  // namespace nervus
