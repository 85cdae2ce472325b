// bench_ops: every kernel of the CPU at the model's shapes: p50, GFLOP/s or GB/s, share of peak, and for linears the
// share of what oneDNN reaches when it is called directly.
//
// bench_ops [--json FILE] [--seconds S] [--threads N]... [--precision f32|bf16]... [--only linears|kernels]
#include <cstdio>
#include <cstring>
#include <fstream>

#include "bench.h"
#include "core/check.h"

namespace nervus {
namespace {

struct Options {
  std::string json;
  double seconds = 0.5;
  std::vector<int> threads;
  std::vector<Precision> precisions;
  std::string only;
};

Options parse(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string& name = arguments[i];
    const std::string& value = arguments[i + 1];
    if (name == "--json") options.json = value;
    else if (name == "--seconds") options.seconds = std::stod(value);
    else if (name == "--threads") options.threads.push_back(std::stoi(value));
    else if (name == "--only") options.only = value;
    else if (name == "--precision" && value == "f32") options.precisions.push_back(Precision::f32);
    else if (name == "--precision" && value == "bf16") options.precisions.push_back(Precision::bf16);
    else fail(ErrorKind::usage, "bench_ops: unknown option " + name + " " + value);
  }
  if (arguments.size() % 2 != 0) fail(ErrorKind::usage, "bench_ops: " + arguments.back() + " wants a value");
  if (options.threads.empty()) options.threads = {1, 2};
  if (options.precisions.empty()) options.precisions = {Precision::f32, Precision::bf16};
  return options;
}

void print(const Row& row) {
  std::printf("%-11s %-28s %-4s %d  %9.3f ms  ", row.op.c_str(), row.shape.c_str(), row.precision.c_str(), row.threads,
              row.seconds * 1e3);
  if (row.flops > 0.0) std::printf("%8.1f GFLOP/s", row.flops / row.seconds * 1e-9);
  else std::printf("%8.1f GB/s   ", row.bytes / row.seconds * 1e-9);
  std::printf("  %4.0f %% of peak", row.share * 100);
  if (row.bare > 0.0) std::printf("  %4.0f %% of bare oneDNN", row.bare / row.seconds * 100);
  std::printf("\n");
  std::fflush(stdout);
}

void write_json(const std::string& path, const std::vector<Row>& rows) {
  std::ofstream file(path);
  file << "[\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    file << R"(  {"op": ")" << row.op << R"(", "shape": ")" << row.shape << R"(", "precision": ")" << row.precision
         << R"(", "threads": )" << row.threads << R"(, "p50_ms": )" << row.seconds * 1e3 << R"(, "flops": )"
         << row.flops << R"(, "bytes": )" << row.bytes << R"(, "share_of_peak": )" << row.share
         << R"(, "bare_onednn_p50_ms": )" << row.bare * 1e3 << "}" << (i + 1 < rows.size() ? "," : "") << "\n";
  }
  file << "]\n";
  if (!file) fail(ErrorKind::io, path + ": cannot be written");
}

void run(const Options& options) {
  std::vector<Row> all;
  for (const Precision precision : options.precisions) {
    for (const int threads : options.threads) {
      const bool bf16 = precision == Precision::bf16;
      const Peaks peaks = measure_peaks(threads, bf16);
      std::printf("%s\n  peaks: f32 %.1f GFLOP/s, bf16 %.1f GFLOP/s, copy %.1f GB/s\n",
                  make_cpu_device(precision, threads)->description().c_str(), peaks.f32_flops * 1e-9,
                  peaks.bf16_flops * 1e-9, peaks.bandwidth * 1e-9);
      for (const bool linears : {true, false}) {
        if (options.only == (linears ? "kernels" : "linears")) continue;
        const Setting setting{precision, threads, options.seconds};
        for (Row& row : linears ? bench_linears(setting, peaks) : bench_kernels(setting, peaks)) {
          row.precision = bf16 ? "bf16" : "f32";
          row.threads = threads;
          print(row);
          all.push_back(row);
        }
      }
    }
  }
  if (!options.json.empty()) write_json(options.json, all);
}

}  // namespace
}  // namespace nervus

int main(int count, char** arguments) {
  try {
    nervus::run(nervus::parse({arguments + 1, arguments + count}));
    return 0;
  } catch (const nervus::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return nervus::exit_code(error.kind());
  }
}
