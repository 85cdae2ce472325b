// What the parts of `nervus bench` share: its options, the policies that take turns, and what each of their calls took.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli/options.h"
#include "cli/output.h"
#include "nervus/policy.h"
#include "nervus/tools.h"

namespace nervus::cli {

struct BenchOptions {
  PolicyOptions policy;  // but for its precision and attention, of which there may be several
  std::vector<std::string> precisions, attentions;
  std::string inputs;
  int batch = 1;
  int max_batch = 0;            // that the policies are loaded for; 0: batch
  int text = 0;                 // text tokens that count; 0: all
  int warmup = -1;              // rounds; negative: by device
  int runs = 0;                 // rounds; 0: by device
  bool pixels = false;          // also calls whose images are pixels
  std::string frames;           // also calls of observations with frames of this size, see frame_size(); empty: none
  bool kept = false;            // also calls with a kept prefix
  bool without_clocks = false;  // of a GPU whose clocks are unknown
  std::uint64_t seed = 0;
  std::string reference, reference_out, reference_precision, reference_device;
  int reference_seeds = 3;

  bool on_cpu() const { return policy.device == "cpu"; }
  int warmup_rounds() const { return warmup >= 0 ? warmup : on_cpu() ? 3 : 300; }
  int measured_rounds() const { return runs > 0 ? runs : on_cpu() ? 50 : 500; }
};

// A policy of the run.
struct Contender {
  std::string precision, attention;
  LoadOptions load;
  Policy policy;

  // "bf16", or "bf16, plain attention"
  std::string name() const { return precision + (attention == "auto" ? "" : ", " + attention + " attention"); }
};

LoadOptions load_options_of(const BenchOptions& options, const std::string& precision, const std::string& attention,
                            ProgressFunction progress);

// The tensors of a call: of the file that was named, or random, as large as the policy takes, all views and as many
// text tokens as asked for valid. Without noise, which the call's seed draws.
Inputs inputs_of(const BenchOptions& options, const PolicyInfo& info, std::uint64_t seed);

// Width and height of "640x480". Throws Error(usage).
std::pair<int, int> frame_size(const std::string& frames);

// A stage's milliseconds over the calls, sorted, in the order of the stages.
using Samples = std::vector<std::pair<std::string, std::vector<double>>>;

// What a call's images are: tensors of one of two kinds, or an observation's frames.
enum class Images { patches, pixels, frames };

// One kind of call.
struct Series {
  std::size_t contender = 0;
  int steps = 0;
  Images images = Images::patches;
  bool kept = false;
  Samples samples;
};

// Rounds of one call of each kind after the other, so that what slows the machine slows all; inputs are new in each.
std::vector<Series> measure(std::vector<Contender>& contenders, const BenchOptions& options, const Output& output);

// The least sample that at least `share` of all do not exceed. `sorted` is not empty.
double percentile(const std::vector<double>& sorted, double share);

// ---- accuracy
using Reference = std::map<std::string, Array>;  // "seed.0.actions.10", "seed.0.prefix.embeddings"

// What a policy of options.reference_precision answers for each seed, or what the file holds. Throws Error.
Reference make_reference(const BenchOptions& options, const Output& output);
// How far each contender's answers are from it: {"actions.10": {"cosine", "error", "joints"}, "prefix.embeddings": ...}
Json compare_with(const Reference& reference, Contender& contender, const BenchOptions& options, const Output& output);

// ---- reports
// The latencies of a series, with "latency_ms".
Json report_latency(const Series& series, const Contender& contender, const BenchOptions& options,
                    const Output& output);
// What its stages reach of the device's peaks.
Json report_peaks(const Series& series, const std::vector<OpRecord>& records, const DevicePeaks& peaks,
                  const Output& output);
// The linears of each kind in each stage, all layers' `mlp.down_proj` for one, slowest first.
Json report_linears(const Series& series, const std::vector<OpRecord>& records, double peak, const Output& output);
Json report_policy(const Contender& contender, const DevicePeaks& peaks, const Output& output);
Json report_state(const DeviceState& state, const Output& output);

}  // namespace nervus::cli
