// What this build and machine can do: processor, cores, formats, memory, devices.
#include <sched.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include "backends/device.h"
#include "nervus/error.h"
#include "nervus/tools.h"

namespace nervus {
namespace {

// Peak of a load of 4.2 B parameters, with caches, activations and the tensor being converted.
constexpr double need_bf16 = 10.5e9;
constexpr double need_f32 = 19e9;

std::string gigabytes(double bytes) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.1f GB", bytes / 1e9);
  return buffer.data();
}

// The words behind the ':' of the first line that begins with `key`; "" if there is none.
std::string value_of(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The number that a line begins with; `fallback` for "max" and what is not there.
double number_or(const std::string& line, double fallback) {
  std::istringstream words(line);
  double value = 0;
  return words >> value ? value : fallback;
}

Finding processor() {
  const std::string flags = " " + value_of("/proc/cpuinfo", "flags") + " ";
  std::string found;
  for (const char* feature : {"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"})
    if (flags.find(" " + std::string(feature) + " ") != std::string::npos) found += std::string(" ") + feature;
  Finding finding{"processor", true,
                  value_of("/proc/cpuinfo", "model name") + ":" + (found.empty() ? " no avx2" : found), ""};
  if (found.find("avx2") == std::string::npos) finding.mend = "a processor with AVX2 or better is many times faster";
  return finding;
}

// Cores that the scheduler lets this process use, and the control group's share of them.
Finding cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const unsigned machine = std::max(1u, std::thread::hardware_concurrency());
  const int allowed = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(machine);
  std::istringstream maximum(first_line("/sys/fs/cgroup/cpu.max"));
  std::string quota;
  double period = 0, share = allowed;
  if (maximum >> quota >> period && quota != "max" && period > 0) share = number_or(quota, share * period) / period;
  Finding finding{"cores", true, std::to_string(allowed) + " usable", ""};
  if (share < allowed) {
    std::ostringstream limit;
    limit.precision(3);
    limit << share;
    finding.detail += ", but the control group grants the time of " + limit.str();
    finding.mend = "use --threads " + std::to_string(std::max(1, static_cast<int>(share))) + ", or raise cpu.max";
  }
  return finding;
}

// What `describe` says, or why it cannot.
template <typename Describe>
Finding offered(const char* what, const Describe& describe) {
  try {
    return {what, true, describe(), ""};
  } catch (const Error& error) {
    return {what, false, error.what(), ""};
  }
}

Finding format(Precision precision) {
  return offered(name_of(precision), [&] { return make_cpu_device(precision, 0)->description(); });
}

// Which attention kernels a load would use; where there is no GPU, the CPU's.
Finding kernels_of_attention(bool on_cuda) {
  if (!on_cuda) return {"attention", true, "on the CPU one kernel, for every shape and mask", ""};
  return offered("attention", [] {
    return "on cuda:0 in bf16 " + make_cuda_device(Precision::bf16, 0)->attention_plan().front() +
           "; 'nervus inspect DIR --device cuda:0' names them for a checkpoint";
  });
}

Finding memory() {
  const auto available = static_cast<double>(available_memory());
  const auto need = [&](double bytes, const char* precision) {
    return gigabytes(bytes) + " in " + precision + (bytes <= available ? " (fits)" : " (too much)");
  };
  Finding finding{"memory", available >= 0.5e9, gigabytes(available) + " available", ""};
  finding.detail += "; 4.2 B parameters need " + need(need_bf16, "bf16") + ", " + need(need_f32, "f32");
  if (available < need_bf16)
    finding.mend = "free memory or use a larger machine for 4.2 B parameters; smaller ones run";
  return finding;
}

Finding huge_pages() {
  const std::string setting = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const std::size_t begin = setting.find('['), end = setting.find(']');
  if (begin == std::string::npos || end == std::string::npos)
    return {"huge pages", true, "not offered by this kernel", ""};
  const std::string chosen = setting.substr(begin + 1, end - begin - 1);
  return {"huge pages", true, chosen,
          chosen == "never" ? "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (a little faster)" : ""};
}

}  // namespace

std::int64_t available_memory() {
  constexpr double unlimited = std::numeric_limits<double>::infinity();
  double bytes = number_or(value_of("/proc/meminfo", "MemAvailable"), 0) * 1024;
  const std::string group = "/sys/fs/cgroup/memory.";
  const double limit = number_or(first_line(group + "max"), unlimited);
  if (limit < unlimited) bytes = std::min(bytes, std::max(0.0, limit - number_or(first_line(group + "current"), 0)));
  return static_cast<std::int64_t>(bytes);
}

std::vector<Finding> examine_machine() {
  Finding f32 = format(Precision::f32), bf16 = format(Precision::bf16), cuda = offered("cuda", describe_cuda);
  const Finding attention = kernels_of_attention(cuda.good);
  f32.good = bf16.good = cuda.good = f32.good || cuda.good;  // one of the two is enough
  return {processor(), cores(), f32, bf16, memory(), huge_pages(), cuda, attention};
}

}  // namespace nervus
