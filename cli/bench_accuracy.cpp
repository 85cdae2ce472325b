// How far answers are from a reference's: of another precision, or of a file.
#include <algorithm>
#include <cmath>

#include "cli/actions.h"
#include "cli/bench.h"
#include "nervus/array_file.h"
#include "nervus/error.h"

namespace nervus::cli {
namespace {

std::string name_at(int seed, const std::string& what) { return "seed." + std::to_string(seed) + "." + what; }

std::string actions_name(int steps) { return "actions." + std::to_string(steps); }

// The actions of every step count, and of the stages before them what the traces hold, for one seed.
void answer(Policy& policy, const BenchOptions& options, int seed, bool stages, Reference& answers) {
  const std::uint64_t noise = options.seed + static_cast<std::uint64_t>(seed);
  const Inputs inputs = inputs_of(options, policy.info(), noise);
  for (const int steps : policy.info().steps) {
    const ActionChunk chunk = policy.infer(inputs, {.steps = steps, .seed = noise});
    answers[name_at(seed, actions_name(steps))] =
        Array::from(chunk.values, {chunk.batch, chunk.steps, chunk.dimensions});
  }
  if (!stages) return;
  for (auto& [name, array] : policy.trace(inputs, {}))
    if (name.starts_with("prefix.") && name != "prefix.valid") answers[name_at(seed, name)] = std::move(array);
}

// What is known of one kind of answer over all seeds, samples and, of keys and values, layers.
struct Agreement {
  double cosine = 1;          // smallest
  double error = 0;           // largest |difference|
  double largest = 0;         // |expected|
  std::int64_t rows = 0;      // that went into the sums
  std::vector<double> total;  // of |difference|, one a column
  std::vector<double> worst;  // |difference|, one a column

  // Both [B, ..., columns].
  void add(const Array& found, const Array& expected) {
    const std::vector<float> f = found.to_float(), e = expected.to_float();
    const auto columns = static_cast<std::size_t>(expected.shape.back());
    const auto samples = static_cast<std::size_t>(expected.shape.front());
    total.resize(columns);
    worst.resize(columns);
    rows += static_cast<std::int64_t>(e.size() / columns);
    for (std::size_t b = 0; b < samples; ++b) {
      double product = 0, own = 0, other = 0;
      for (std::size_t i = b * e.size() / samples; i < (b + 1) * e.size() / samples; ++i) {
        const double a = f[i], wanted = e[i], apart = std::abs(a - wanted);
        const double difference = std::isnan(apart) ? INFINITY : apart;  // which max would drop
        product += a * wanted, own += a * a, other += wanted * wanted;
        largest = std::max(largest, std::abs(wanted));
        error = std::max(error, difference);
        total[i % columns] += difference;
        worst[i % columns] = std::max(worst[i % columns], difference);
      }
      const double of_sample = own > 0 && other > 0 ? product / std::sqrt(own * other) : own == other ? 1.0 : 0.0;
      cosine = std::min(cosine, std::isnan(of_sample) ? -1.0 : of_sample);
    }
  }
  double relative_error() const { return largest > 0 ? error / largest : error; }
};

const Array& expected_of(const Reference& reference, const std::string& name, const Array& found,
                         const BenchOptions& options) {
  const auto place = reference.find(name);
  if (place == reference.end())
    throw Error(ErrorKind::input, options.reference + ": expected an array '" + name +
                                      "', found none: make it with the same --steps, --seed and --reference-seeds");
  if (place->second.shape != found.shape)
    throw Error(ErrorKind::input, options.reference + ": array '" + name + "': expected " + to_string(found.shape) +
                                      ", found " + to_string(place->second.shape));
  return place->second;
}

// "prefix.3.key" counts as "prefix.keys".
std::string kind_of(const std::string& name) {
  if (name.ends_with(".key")) return "prefix.keys";
  return name.ends_with(".value") ? "prefix.values" : name;
}

Json joints_of(const Agreement& agreement, const std::vector<std::string>& names) {
  Json joints = Json::array();
  for (std::size_t i = 0; i < agreement.total.size(); ++i)
    joints.push_back({{"name", i < names.size() && !names[i].empty() ? names[i] : "action_" + std::to_string(i)},
                      {"mean", agreement.total[i] / static_cast<double>(agreement.rows)},
                      {"worst", agreement.worst[i]}});
  return joints;
}

}  // namespace

Reference make_reference(const BenchOptions& options, const Output& output) {
  Reference reference;
  if (!options.reference.empty()) {
    for (auto& [name, array] : read_actions(options.reference)) {
      if (array.shape.size() == 2) array.shape.insert(array.shape.begin(), 1);
      reference[name.starts_with("seed.") ? name : name_at(0, name)] = std::move(array);
    }
    return reference;
  }
  BenchOptions other = options;
  if (!options.reference_device.empty()) other.policy.device = options.reference_device;
  other.policy.plan.clear();  // that of what is measured
  Policy policy = Policy::load(options.policy.checkpoint,
                               load_options_of(other, options.reference_precision, "auto", output.progress()));
  const ProgressFunction progress = output.progress();
  for (int seed = 0; seed < options.reference_seeds; ++seed) {
    answer(policy, options, seed, true, reference);
    if (progress) progress(seed + 1, options.reference_seeds, "reference in " + options.reference_precision);
  }
  if (!options.reference_out.empty()) write_arrays(options.reference_out, reference);
  return reference;
}

Json compare_with(const Reference& reference, Contender& contender, const BenchOptions& options, const Output& output) {
  int seeds = 0;
  for (; std::ranges::any_of(reference, [&](const auto& r) { return r.first.starts_with(name_at(seeds, "")); });)
    ++seeds;
  const bool stages = std::ranges::any_of(reference, [](const auto& r) { return r.first.ends_with(".embeddings"); });
  std::map<std::string, Agreement> agreements;
  for (int seed = 0; seed < std::max(seeds, 1); ++seed) {
    Reference found;
    answer(contender.policy, options, seed, stages, found);
    for (const auto& [name, array] : found)
      agreements[kind_of(name.substr(name_at(seed, "").size()))].add(array,
                                                                     expected_of(reference, name, array, options));
  }
  const PolicyInfo& info = contender.policy.info();
  Json out = {{"seeds", seeds}};
  Table table({contender.name() + " against the reference", "cosine", "error", "mean of a joint", "worst"});
  for (const auto& [name, agreement] : agreements) {
    Json& entry = out[name];
    entry = {{"cosine", agreement.cosine}, {"relative_error", agreement.relative_error()}, {"error", agreement.error}};
    std::vector<std::string> cells = {name, formatted("%.6f", agreement.cosine),
                                      number(100 * agreement.relative_error(), 3) + " %"};
    if (name.starts_with("actions.")) {
      entry["joints"] = joints_of(agreement, info.joints);
      const auto mean = std::ranges::max_element(agreement.total) - agreement.total.begin();
      const auto worst = std::ranges::max_element(agreement.worst) - agreement.worst.begin();
      const auto cell = [&](std::ptrdiff_t joint, const char* what) {
        const Json& found = entry["joints"][static_cast<std::size_t>(joint)];
        return number(found[what].get<double>(), 3) + " (" + found["name"].get<std::string>() + ")";
      };
      cells.push_back(cell(mean, "mean"));
      cells.push_back(cell(worst, "worst"));
    }
    table.add(cells);
  }
  output.text("");
  output.table(table);
  return out;
}

}  // namespace nervus::cli
