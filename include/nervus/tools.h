// Tools around a policy: what the command line's verbs are made of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "nervus/options.h"
#include "nervus/policy.h"

namespace nervus {

// ---- inspect: what a checkpoint is, without reading its weights
struct PartReport {
  std::string part;  // "vision", "language", "embedding", "expert", "unused"
  std::int64_t tensors = 0;
  std::int64_t parameters = 0;
};

struct StageWork {
  std::string stage;        // "vision", "prefix", "denoise" (all its steps)
  double flops = 0;         // of one call at the limits
  double weight_bytes = 0;  // read by one call
};

struct CheckpointReport {
  std::string family;                        // "lingbot-vla"
  std::vector<std::string> variants;         // "depth queries", "causal prefix", "gated AdaRMS (separate)", ...
  std::map<std::string, std::string> sizes;  // "language width" -> "2048", ...
  std::vector<PartReport> parts;
  std::map<std::string, std::int64_t> formats;  // dtype -> tensors
  std::map<std::string, std::int64_t> linears;  // dtype -> linears that are held in it at options.precision
  std::vector<std::string> missing;             // required tensors that are absent
  std::vector<std::string> mismatched;          // "name: expected [..], found [..]"
  std::vector<std::string> unknown;             // tensors that the model does not know
  std::vector<std::string> files;               // beside it: "tokenizer.json", "norm_stats.json", ...
  std::vector<StageWork> work;
  std::int64_t file_bytes = 0;
  std::int64_t weight_bytes = 0;  // in memory at options.precision
  std::int64_t workspace_bytes = 0;
  std::string device;                       // options.device, or what it is
  std::vector<std::string> attention_plan;  // which attention kernels it computes with, and why
  std::vector<std::string> linear_plan;     // what formats made of the model, and how a GPU computes linears and blocks
  // Of a GPU, which is asked by a load without weights:
  std::int64_t device_bytes = 0;  // all that it would hold
  std::int64_t graphs = 0;        // recorded at load
  std::string digest;
};

// Throws Error(checkpoint) only where the directory, a header or config.json cannot be read at all; Error(unsupported)
// where options.device is a GPU that is not here, or does not compute what is asked for.
CheckpointReport inspect(const std::filesystem::path& directory, const LoadOptions& options = {});

// ---- verify: a case's expected values, stage by stage
struct StageError {
  std::string stage;     // "prefix.embeddings", "prefix.3.key", "velocity.t0.3", "actions.10"
  double error = 0;      // largest |found - expected| / largest |expected|; 0 if both are zero
  double cosine = 1;     // smallest over the batch
  double tolerance = 0;  // on `error` in f32; otherwise on 1 - cosine
  bool passed = false;
};

struct VerifyReport {
  std::vector<StageError> stages;
  bool passed() const;
};

// Runs `directory` on case/inputs.safetensors and compares with case/expected.safetensors. The checkpoint may
// be the case's own directory.
VerifyReport verify(const std::filesystem::path& directory, const std::filesystem::path& case_directory,
                    const LoadOptions& options = {});

// ---- calibrate: how large the inputs of each linear are, which is what linears in e4m3 scale them by
using Sample = std::variant<Inputs, Observation>;

struct CalibrateOptions {
  LoadOptions load;  // precision f32 or bf16; its limits give way to the samples'; every step count is run
  // Of |x|, 50 to 100 (the largest): a linear's range. e4m3 is as precise for small values as for large ones, and what
  // is beyond the range saturates, so that less than 100 seldom pays.
  double percentile = 100;
  std::filesystem::path check;  // a calibration whose ranges are counted against, in place of new ones; empty: none
  ProgressFunction progress;    // in samples
};

// What entered one linear, or stood before the norm that it reads.
struct LinearRange {
  std::string linear;       // its (first) tensor in the checkpoint
  double range = 0;         // e4m3's scale is range / 448
  double largest = 0;       // |x| seen
  std::int64_t values = 0;  // seen
  std::int64_t beyond = 0;  // of them, with |x| > range: e4m3 stores them as the range
};

struct CalibrationReport {
  std::string digest;  // of the checkpoint
  std::int64_t samples = 0;
  double percentile = 0;
  std::vector<LinearRange> linears;  // in the order of their names
  // Of linears that read a norm: |h * the norm's scale| before its rows are normalised, which is what a fused linear in
  // e4m3 reads. The range has room for four times the largest, whatever the percentile.
  std::vector<LinearRange> streams;
};

// Runs `count` samples, `sample(0)` and so on (each may be asked for twice; noise they lack is drawn from their index),
// and reports what entered each linear. A percentile is at most 2^-7 of itself too large, never too small; at 100 it is
// exact. The same samples give the same report. Throws Error(usage | input | checkpoint | numeric | unsupported).
CalibrationReport calibrate(const std::filesystem::path& directory, std::size_t count,
                            const std::function<Sample(std::size_t)>& sample, const CalibrateOptions& options = {});
// The file that LoadOptions::calibration names. Throws Error(io).
void write_calibration(const std::filesystem::path& path, const CalibrationReport& report);

// ---- synth: a checkpoint of random weights with the public names and shapes
struct SynthOptions {
  std::string preset = "tiny";  // "tiny" or "lingbot-vla-4b"
  std::uint64_t seed = 0;
  std::string dtype = "f32";  // of the tensors: "f32", "f16" or "bf16"
  bool outliers = false;      // channels 20 to 50 times larger than the rest, as trained language models have
  int threads = 0;
  ProgressFunction progress;
};

// Writes config.json, model.safetensors, tokenizer and norm_stats.json into `directory` (created; must be empty of
// them).
void synthesise(const std::filesystem::path& directory, const SynthOptions& options);
std::vector<std::string> synth_presets();

// ---- doctor: what this build and machine can do
struct Finding {
  std::string what;  // "cpu", "bf16", "memory", "cuda", ...
  bool good = false;
  std::string detail;  // what was found
  std::string mend;    // how to mend it; empty where nothing is to be done
};
std::vector<Finding> examine_machine();

// Bytes that this process may still allocate: the machine's available memory, within its control group's limit.
std::int64_t available_memory();

// What a device says of itself at a moment; 0 or empty where it cannot be known.
struct DeviceState {
  std::string driver;   // "580.159.04"
  std::string runtime;  // "CUDA 13.0"
  int clock = 0;        // of the processors, MHz
  int largest_clock = 0;
  int memory_clock = 0;
  int largest_memory_clock = 0;
  int temperature = 0;            // degrees Celsius
  double power = 0;               // watts
  std::int64_t memory_used = 0;   // bytes, by all processes
  std::int64_t memory_total = 0;  // bytes
  std::string unknown;            // which of these is not known, and why; empty if none
};

// Of LoadOptions::device. Throws Error(usage | unsupported) as a load does.
DeviceState device_state(const std::string& device);

// What a device reaches at best, in about two seconds.
struct DevicePeaks {
  double flops = 0;             // a second: its own matrix product of a large square problem, in the precision's format
  double bytes_per_second = 0;  // read and written: a copy, or a sum, of more than its caches hold
};
DevicePeaks measure_peaks(const LoadOptions& options);

}  // namespace nervus
