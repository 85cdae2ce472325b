// What the rows of bench_ops share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backends/device.h"

namespace nervus {

// The machine's limits, measured with the threads of the row.
struct Peaks {
  double f32_flops = 0.0;   // a loop of independent multiply-adds
  double bf16_flops = 0.0;  // oneDNN's best product of large matrices; 0 where it has none
  double bandwidth = 0.0;   // bytes per second of a copy that no cache holds, reads and writes both counted
};
Peaks measure_peaks(int threads, bool bf16);

struct Row {
  std::string op;
  std::string shape;
  std::string precision;
  int threads = 0;
  double seconds = 0.0;  // p50
  double flops = 0.0;    // of one call; 0 where memory is what counts
  double bytes = 0.0;    // read and written by one call
  double share = 0.0;    // of peak FLOP/s, or of peak bandwidth where flops is 0 (over 1 where caches hold the data)
  double bare = 0.0;     // p50 of oneDNN called directly, interleaved with `seconds`; 0 for other ops
};

struct Setting {
  Precision precision;
  int threads;
  double seconds;  // to spend on a row
};

// The p50 times of the calls, which take turns, after a warm-up.
std::vector<double> time_in_turns(const std::vector<std::function<void()>>& calls, double seconds);

std::vector<Row> bench_linears(const Setting& setting, const Peaks& peaks);
std::vector<Row> bench_kernels(const Setting& setting, const Peaks& peaks);

}  // namespace nervus
