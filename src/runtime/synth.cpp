#include <algorithm>
#include <cmath>
#include <thread>

#include "checkpoint/file.h"
#include "checkpoint/safetensors.h"
#include "core/message.h"
#include "models/families.h"
#include "nervus/tools.h"
#include "preprocess/noise.h"
#include "preprocess/robots/robot.h"
#include "preprocess/tokenizer.h"

namespace nervus {
namespace {

constexpr std::int64_t chunk_values = 1 << 22;
constexpr int outlier_channels = 6;

bool ends_with_any(const std::string& name, std::initializer_list<const char*> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](const char* ending) { return name.ends_with(ending); });
}

std::int64_t inputs_of(const Shape& shape) { return element_count({shape.begin() + 1, shape.end()}); }

// Mean and spread of a tensor's values: such that activations stay near 1 through all layers.
struct Spread {
  float mean = 0;
  float scale = 1;
};

Spread spread_of(const TensorSpec& spec) {
  const std::string& name = spec.name;
  const auto fan_in = static_cast<float>(inputs_of(spec.shape));
  if (ends_with_any(name, {"norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight", "ln_q.weight"})) {
    return {1.0f, 0.1f};
  }
  if (name.ends_with(".bias")) return {0.0f, 0.02f};
  if (ends_with_any(name, {"gamma.weight", "beta.weight", "gate.weight"})) return {0.0f, 0.3f / std::sqrt(fan_in)};
  if (ends_with_any(name, {"embed_tokens.weight", "align_embs"})) return {0.0f, 0.5f};
  if (ends_with_any(name, {"o_proj.weight", "down_proj.weight", "attn.proj.weight"})) {
    return {0.0f, 0.5f / std::sqrt(fan_in)};
  }
  return {0.0f, 1.0f / std::sqrt(fan_in)};
}

// The channels of a residual stream that trained models grow far beyond the rest, and by how much (20 to 50).
std::vector<float> outlier_gains(std::uint64_t seed, const std::string& part, std::int64_t width) {
  std::vector<float> gains(width, 1.0f);
  for (int i = 0; i < outlier_channels; ++i) {
    const auto word = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(part.size()), 0x6f75u, 0},
                             {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    gains[word[0] % width] = 20.0f + 30.0f * static_cast<float>(word[1] >> 8) * 0x1p-24f;
  }
  return gains;
}

// Whether a tensor writes the residual stream of its part with its rows (outputs), or, as an embedding, its columns.
enum class Writes { nothing, rows, columns };

Writes residual_writer(const TensorSpec& spec) {
  if (spec.part == "expert") return Writes::nothing;
  if (spec.name.ends_with("embed_tokens.weight")) return Writes::columns;
  if (ends_with_any(spec.name, {"o_proj.weight", "down_proj.weight", "attn.proj.weight", "patch_embed.proj.weight",
                                "merger.mlp.2.weight"})) {
    return Writes::rows;
  }
  return Writes::nothing;
}

// Values [first, first + count) of a tensor.
void fill(const TensorSpec& spec, const SynthOptions& options, std::uint64_t stream, std::int64_t first, float* out,
          std::int64_t count) {
  const Spread spread = spread_of(spec);
  fill_synthetic(options.seed, stream, static_cast<std::uint64_t>(first), spread.scale, out,
                 static_cast<std::size_t>(count));
  if (spread.mean != 0) {
    for (std::int64_t i = 0; i < count; ++i) out[i] += spread.mean;
  }
  const Writes writes = options.outliers ? residual_writer(spec) : Writes::nothing;
  if (writes == Writes::nothing) return;
  const std::int64_t inputs = inputs_of(spec.shape);
  const bool language = spec.part != "vision" || spec.name.ends_with("merger.mlp.2.weight");
  const std::int64_t width = writes == Writes::rows ? spec.shape[0] : inputs;
  const std::vector<float> gains = outlier_gains(options.seed, language ? "language" : "vision", width);
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] *= gains[writes == Writes::rows ? (first + i) / inputs : (first + i) % inputs];
  }
}

DType weight_type(const std::string& name) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    if (name == name_of(dtype)) return dtype;
  }
  fail(ErrorKind::usage, "dtype: expected f32, f16 or bf16, found '", name, "'");
}

const Family& family_with_preset(const std::string& preset) {
  for (const Family& family : families()) {
    if (!family.preset(preset).empty()) return family;
  }
  fail(ErrorKind::usage, "preset: expected one of ", joined(synth_presets()), ", found '", preset, "'");
}

// One chunk of values for each thread at a time, written in order.
void write_tensor(SafetensorsWriter& writer, const TensorSpec& spec, const SynthOptions& options, std::uint64_t stream,
                  DType dtype) {
  const int threads = options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  const std::int64_t total = element_count(spec.shape), size = static_cast<std::int64_t>(size_of(dtype));
  std::vector<std::vector<std::byte>> done(std::max(1, threads));
  for (std::int64_t begin = 0; begin < total; begin += chunk_values * static_cast<std::int64_t>(done.size())) {
    std::vector<std::jthread> workers;
    for (std::size_t w = 0; w < done.size(); ++w) {
      const std::int64_t first = begin + static_cast<std::int64_t>(w) * chunk_values;
      const std::int64_t count = std::clamp<std::int64_t>(total - first, 0, chunk_values);
      done[w].resize(count * size);
      if (count == 0) continue;
      workers.emplace_back([&spec, &options, stream, first, count, dtype, &target = done[w]] {
        std::vector<float> values(count);
        fill(spec, options, stream, first, values.data(), count);
        convert(DType::f32, values.data(), dtype, target.data(), count);
      });
    }
    workers.clear();
    for (const std::vector<std::byte>& bytes : done) writer.append(bytes.data(), bytes.size());
  }
}

// Statistics of a robot of two arms, in radians and gripper openings.
std::string norm_stats() {
  const auto feature = [](const char* name, int count, double low, double high) {
    const auto list = [&](double value) { return joined(std::vector<double>(count, value)); };
    const std::string least = list(low), most = list(high);
    return concat("    \"", name, "\": {\"mean\": [", list((low + high) / 2), "], \"std\": [", list((high - low) / 4),
                  "], \"min\": [", least, "], \"max\": [", most, "], \"q01\": [", least, "], \"q99\": [", most,
                  "], \"q02\": [", least, "], \"q98\": [", most, "]}");
  };
  return concat("{\n  \"norm_stats\": {\n", feature("observation.state.arm.position", 12, -1.5, 1.5), ",\n",
                feature("observation.state.effector.position", 2, 0.0, 1.0), ",\n",
                feature("action.arm.position", 12, -1.5, 1.5), ",\n", feature("action.effector.position", 2, 0.0, 1.0),
                "\n  }\n}\n");
}

}  // namespace

std::vector<std::string> synth_presets() {
  std::vector<std::string> presets;
  for (const Family& family : families()) presets.insert(presets.end(), family.presets.begin(), family.presets.end());
  return presets;
}

void synthesise(const std::filesystem::path& directory, const SynthOptions& options) {
  const Family& family = family_with_preset(options.preset);
  const DType dtype = weight_type(options.dtype);
  const std::string config = family.preset(options.preset);
  const Fields fields = Fields::parse(config, "config.json");
  const ModelDescription description = family.describe(fields, nullptr);
  const std::vector<TensorSpec>& table = description.tensors;
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  if (failure) fail(ErrorKind::io, directory.string(), ": cannot be created: ", failure.message());
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "norm_stats.json"}) {
    if (!is_there(directory / name)) continue;
    fail(ErrorKind::usage, directory.string(), ": expected a directory without a checkpoint, found ", name,
         ": choose another, or remove it");
  }
  std::vector<TensorDeclaration> declarations;
  std::int64_t total = 0, done = 0;
  for (const TensorSpec& spec : table) {
    declarations.push_back({spec.name, dtype, spec.shape});
    total += element_count(spec.shape) * static_cast<std::int64_t>(size_of(dtype));
  }
  SafetensorsWriter writer(directory / "model.safetensors", declarations);
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (options.progress) options.progress(done, total, table[i].name);
    write_tensor(writer, table[i], options, i, dtype);
    done += element_count(table[i].shape) * static_cast<std::int64_t>(size_of(dtype));
  }
  writer.finish();
  if (options.progress) options.progress(total, total, "model.safetensors");
  write_byte_tokenizer(directory, description.shape.vocabulary);
  write_text(directory / "norm_stats.json", norm_stats());
  write_text(directory / "config.json", config);
}

}  // namespace nervus
