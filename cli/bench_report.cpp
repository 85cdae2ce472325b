// What was measured, as tables and as JSON.
#include <algorithm>

#include "cli/bench.h"

namespace nervus::cli {
namespace {

// Tensor names with every layer's number as '*'.
std::string without_numbers(const std::string& name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool digit = name[i] >= '0' && name[i] <= '9' && (i == 0 || name[i - 1] == '.' || out.back() == '*');
    if (!digit) out += name[i];
    else if (out.empty() || out.back() != '*') out += '*';
  }
  return out;
}

// What tells linears of one stage apart: behind the layer's '*', or the last two words.
std::string shortened(const std::string& name) {
  const std::size_t layer = name.rfind(".*.");
  if (layer != std::string::npos) return name.substr(layer + 3);
  const std::size_t last = name.rfind('.');
  const std::size_t before = last == std::string::npos || last == 0 ? last : name.rfind('.', last - 1);
  return before == std::string::npos ? name : name.substr(before + 1);
}

void add(OpRecord& sum, const OpRecord& record) {
  sum.calls += record.calls;
  sum.milliseconds += record.milliseconds;
  sum.flops += record.flops;
  sum.bytes += record.bytes;
}

std::vector<OpRecord> linears_of(const std::vector<OpRecord>& records) {
  std::vector<OpRecord> groups;
  for (OpRecord record : records) {
    if (record.flops <= 0 || record.name.empty()) continue;
    record.name = without_numbers(record.name);
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const OpRecord& g) {
      return g.stage == record.stage && g.name == record.name && g.rows == record.rows;
    });
    if (group == groups.end()) groups.push_back(record);
    else add(*group, record);
  }
  std::sort(groups.begin(), groups.end(),
            [](const OpRecord& a, const OpRecord& b) { return a.milliseconds > b.milliseconds; });
  return groups;
}

}  // namespace

Json report_latency(const Series& series, const Contender& contender, const BenchOptions& options,
                    const Output& output) {
  const std::string images = series.images == Images::frames   ? "frames of " + options.frames
                             : series.images == Images::pixels ? "pixels"
                                                               : "patches";
  Json out = {{"precision", contender.precision},
              {"attention", contender.attention},
              {"steps", series.steps},
              {"images", images},
              {"kept_prefix", series.kept}};
  Table table({contender.name() + ", " + std::to_string(series.steps) + " steps" +
                   (series.images != Images::patches ? ", " + images : "") + (series.kept ? ", kept prefix" : ""),
               "p50", "p95", "p99", "p99.9", "max", "mean"});
  for (const auto& [stage, sorted] : series.samples) {
    double sum = 0;
    for (const double value : sorted) sum += value;
    const std::vector<std::pair<const char*, double>> values = {{"p50", percentile(sorted, 0.50)},
                                                                {"p95", percentile(sorted, 0.95)},
                                                                {"p99", percentile(sorted, 0.99)},
                                                                {"p99.9", percentile(sorted, 0.999)},
                                                                {"max", sorted.back()},
                                                                {"mean", sum / static_cast<double>(sorted.size())}};
    std::vector<std::string> cells = {stage};
    for (const auto& [name, value] : values) {
      cells.push_back(duration(value));
      out["latency_ms"][stage][name] = value;
    }
    table.add(cells, stage == "total" ? Style::strong : Style::plain);
  }
  output.text("");
  output.table(table);
  return out;
}

Json report_peaks(const Series& series, const std::vector<OpRecord>& records, const DevicePeaks& peaks,
                  const Output& output) {
  Json out = Json::object();
  Table table({"stage", "p50", "linears", "of peak", "weights", "of peak", "floor", "times the floor"});
  for (const auto& [stage, sorted] : series.samples) {
    double flops = 0, bytes = 0;
    for (const OpRecord& record : records) {
      if (record.stage == stage) flops += record.flops, bytes += record.weight_bytes;
    }
    const double p50 = percentile(sorted, 0.50);
    if (flops <= 0 || p50 <= 0) continue;
    const double rate = 1e3 * flops / p50, flow = 1e3 * bytes / p50;
    const double by_flops = 1e3 * flops / peaks.flops, by_bytes = 1e3 * bytes / peaks.bytes_per_second;
    const double floor = std::max(by_flops, by_bytes);
    out[stage] = {{"flops", flops},
                  {"weight_bytes", bytes},
                  {"flops_per_second", rate},
                  {"bytes_per_second", flow},
                  {"floor_ms", floor},
                  {"bound", by_flops > by_bytes ? "products" : "weights"},
                  {"times_floor", p50 / floor}};
    table.add({stage, duration(p50), scaled(rate, "FLOP/s"), number(100 * rate / peaks.flops, 3) + " %",
               scaled(flow, "B/s"), number(100 * flow / peaks.bytes_per_second, 3) + " %", duration(floor),
               number(p50 / floor, 3)});
  }
  output.table(table);
  return out;
}

Json report_linears(const Series& series, const std::vector<OpRecord>& records, double peak, const Output& output) {
  Json out = Json::array();
  Table table({"linear", "stage", "rows", "in", "out", "calls", "time", "rate", "of peak"}, {1});
  OpRecord all;
  const auto print = [&](std::vector<std::string> cells, const OpRecord& record, Style style) {
    const double rate = record.milliseconds > 0 ? record.flops / record.milliseconds * 1e3 : 0;
    for (const std::string& cell :
         {duration(record.milliseconds), scaled(rate, "FLOP/s"), number(100 * rate / peak, 3) + " %"})
      cells.push_back(cell);
    table.add(cells, style);
    return rate / peak;
  };
  for (const OpRecord& sum : linears_of(records)) {
    Json entry = {{"name", sum.name},       {"stage", sum.stage},     {"rows", sum.rows},
                  {"inputs", sum.inputs},   {"outputs", sum.outputs}, {"calls", sum.calls},
                  {"ms", sum.milliseconds}, {"flops", sum.flops},     {"bytes", sum.bytes}};
    std::vector<std::string> cells = {shortened(sum.name), sum.stage};
    for (const char* field : {"rows", "inputs", "outputs", "calls"}) cells.push_back(entry[field].dump());
    entry["share_of_peak"] = print(cells, sum, Style::plain);
    out.push_back(entry);
    add(all, sum);
  }
  print({"all", "", "", "", "", ""}, all, Style::strong);
  output.text("\nlinears of one call with " + std::to_string(series.steps) + " steps; peak: " + scaled(peak, "FLOP/s"));
  output.table(table);
  return out;
}

Json report_policy(const Contender& contender, const DevicePeaks& peaks, const Output& output) {
  const PolicyInfo& info = contender.policy.info();
  output.text("\n" + contender.name() + ": loaded in " + number(info.load_seconds, 3) + " s, " +
              scaled(static_cast<double>(info.device_bytes), "B") + " on the device, " + std::to_string(info.graphs) +
              " graphs; peaks " + scaled(peaks.flops, "FLOP/s") + ", " + scaled(peaks.bytes_per_second, "B/s"));
  print_plan("attention", info.attention_plan, output);
  print_plan("linears", info.linear_plan, output);
  return {{"precision", contender.precision},
          {"attention", contender.attention},
          {"recipe", contender.load.recipe},
          {"calibration", contender.load.calibration.string()},
          {"plan", contender.load.plan.string()},
          {"load_seconds", info.load_seconds},
          {"weight_bytes", info.weight_bytes},
          {"workspace_bytes", info.workspace_bytes},
          {"device_bytes", info.device_bytes},
          {"graphs", info.graphs},
          {"attention_plan", info.attention_plan},
          {"linear_plan", info.linear_plan},
          {"peak_flops", peaks.flops},
          {"peak_bytes_per_second", peaks.bytes_per_second}};
}

Json report_state(const DeviceState& state, const Output& output) {
  if (state.clock > 0)
    output.text("\ndriver " + state.driver + ", " + state.runtime + "; " + std::to_string(state.clock) + " of " +
                std::to_string(state.largest_clock) + " MHz, memory " + std::to_string(state.memory_clock) + " of " +
                std::to_string(state.largest_memory_clock) + " MHz, " + std::to_string(state.temperature) + " C, " +
                number(state.power, 3) + " W");
  if (!state.unknown.empty()) output.text("\nclocks and driver, not known: " + state.unknown);
  return {{"driver", state.driver},
          {"runtime", state.runtime},
          {"clock_mhz", state.clock},
          {"largest_clock_mhz", state.largest_clock},
          {"memory_clock_mhz", state.memory_clock},
          {"largest_memory_clock_mhz", state.largest_memory_clock},
          {"temperature_c", state.temperature},
          {"power_w", state.power},
          {"memory_used", state.memory_used},
          {"memory_total", state.memory_total},
          {"unknown", state.unknown}};
}

}  // namespace nervus::cli
