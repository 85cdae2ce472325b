#include <algorithm>

#include "backends/planning_device.h"
#include "checkpoint/file.h"
#include "nervus/tools.h"
#include "runtime/engine.h"

namespace nervus {
namespace {

// Adds the work of ops to the last stage.
class WorkCounter : public KernelObserver {
 public:
  explicit WorkCounter(std::vector<StageWork>& work) : work_(work) {}
  void before(const OpEvent&) override {}
  void after(const OpEvent& event) override {
    work_.back().flops += event.flops;
    work_.back().weight_bytes += event.weight_bytes;
  }

 private:
  std::vector<StageWork>& work_;
};

bool begins_with_any(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& prefix) { return name.starts_with(prefix); });
}

// Parameters by part, formats, and the tensors that the weight table does not know.
void count_tensors(const Checkpoint& checkpoint, const ModelDescription& description, CheckpointReport& report) {
  std::map<std::string, const TensorSpec*> known;
  for (const TensorSpec& spec : description.tensors) known[spec.name] = &spec;
  std::map<std::string, PartReport> parts;
  for (const std::string& name : checkpoint.names()) {
    const TensorInfo& tensor = *checkpoint.find(name);
    ++report.formats[name_of(tensor.dtype)];
    const auto spec = known.find(name);
    std::string part = "unused";
    if (spec != known.end() && spec->second->use == TensorSpec::Use::required) part = spec->second->part;
    if (spec == known.end() && !begins_with_any(name, description.unused_prefixes)) {
      report.unknown.push_back(name);
      part = "unknown";
    }
    parts[part].part = part;
    parts[part].tensors += 1;
    parts[part].parameters += element_count(tensor.shape);
  }
  for (const auto& [name, part] : parts) report.parts.push_back(part);
}

// The work and memory of the largest call, by loading the model without its numbers.
void count_work(const std::filesystem::path& directory, const LoadOptions& options, CheckpointReport& report) {
  auto device = std::make_unique<PlanningDevice>(options.precision);
  const PlanningDevice& plan = *device;
  Engine engine(directory, options, std::move(device), true);
  report.weight_bytes = engine.weight_bytes();
  report.workspace_bytes = engine.workspace_bytes();
  report.linear_plan = engine.linear_plan();
  report.attention_plan = plan.attention_plan();
  for (const auto& [linear, dtype] : plan.linears()) ++report.linears[name_of(dtype)];
  WorkCounter counter(report.work);
  engine.observe(0, counter, [&](const char* stage) { report.work.push_back({stage, 0, 0}); });
}

// What a GPU chooses for the checkpoint's shapes, found by loading it there without its weights.
void ask_device(const std::filesystem::path& directory, const LoadOptions& options, CheckpointReport& report) {
  Engine engine(directory, options, nullptr, true);
  report.device = engine.device().description();
  report.device_bytes = engine.device().memory();
  report.graphs = static_cast<std::int64_t>(engine.graphs());
  report.linear_plan = engine.linear_plan();
  report.attention_plan = engine.device().attention_plan();
}

}  // namespace

CheckpointReport inspect(const std::filesystem::path& directory, const LoadOptions& options) {
  const Checkpoint checkpoint = Checkpoint::open(directory);
  const Fields config = checkpoint.config_fields();
  const Family& family = family_of(config, &checkpoint);
  const ModelDescription description = family.describe(config, &checkpoint);
  CheckpointReport report{.family = family.name, .variants = description.variants, .sizes = description.sizes};
  report.missing = missing_tensors(checkpoint, description);
  report.mismatched = mismatched_tensors(checkpoint, description);
  report.file_bytes = static_cast<std::int64_t>(checkpoint.total_bytes());
  report.digest = checkpoint.digest();
  count_tensors(checkpoint, description, report);
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt", "norm_stats.json"}) {
    if (is_there(directory / name)) report.files.push_back(name);
  }
  report.device = options.device;
  const bool on_gpu = cuda_ordinal(options.device).has_value();
  if (!report.missing.empty() || !report.mismatched.empty()) return report;
  count_work(directory, options, report);
  if (on_gpu) ask_device(directory, options, report);
  return report;
}

}  // namespace nervus
