#include "serve/status.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "preprocess/image.h"

namespace nervus::serve {
namespace {

using Json = nlohmann::ordered_json;

void append_little_endian(std::string& out, std::uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> 8 * i & 255));
}

// A file header of 14 bytes, an image header of 40, rows from the top, each blue green red and padded to 4 bytes.
std::string bmp_of(const Image& image) {
  constexpr std::uint32_t headers = 54;
  const std::size_t row = 3 * static_cast<std::size_t>(image.width), padding = (4 - row % 4) % 4;
  const auto size = static_cast<std::uint32_t>((row + padding) * image.height);
  std::string bmp = "BM";
  for (const std::uint32_t value :
       {headers + size, 0u, headers, 40u, static_cast<std::uint32_t>(image.width),
        static_cast<std::uint32_t>(-image.height), 24u << 16 | 1u, 0u, size, 0u, 0u, 0u, 0u})
    append_little_endian(bmp, value, 4);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x)
      for (const int channel : {2, 1, 0})
        bmp.push_back(static_cast<char>(image.rgb[y * row + 3 * static_cast<std::size_t>(x) + channel]));
    bmp.append(padding, '\0');
  }
  return bmp;
}

Json percentiles(const std::deque<double>& samples) {
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  const auto percentile = [&](double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
    return sorted[std::max<std::size_t>(rank, 1) - 1];
  };
  return {{"p50", percentile(0.5)}, {"p99", percentile(0.99)}, {"last", samples.back()}, {"samples", samples.size()}};
}

}  // namespace

void Status::record(const std::map<std::string, double>& timing, const ActionChunk& chunk) {
  const std::lock_guard lock(mutex_);
  for (const auto& [stage, milliseconds] : timing) {
    std::deque<double>& samples = samples_[stage];
    samples.push_back(milliseconds);
    if (samples.size() > most_samples) samples.pop_front();
  }
  times_.push_back(Clock::now());
  if (times_.size() > most_samples) times_.pop_front();
  chunk_ = chunk;
}

bool Status::wants_cameras() const {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  return now - looked_ < look && now - shown_ >= pause;
}

void Status::show_cameras(const Observation& observation, int side) {
  std::map<std::string, std::string, std::less<>> cameras;
  for (const auto& [name, image] : observation.images) cameras[name] = bmp_of(resize_bilinear(image, side, side));
  const std::lock_guard lock(mutex_);
  cameras_ = std::move(cameras);
  ++frame_;
  shown_ = Clock::now();
}

std::optional<std::string> Status::camera(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = cameras_.find(name);
  return found == cameras_.end() ? std::nullopt : std::optional(found->second);
}

Json Status::document() {
  const std::lock_guard lock(mutex_);
  looked_ = Clock::now();
  // Over the last ten seconds, or what of them the kept times reach back to.
  const Clock::time_point since =
      std::max(looked_ - std::chrono::seconds(10), times_.empty() ? looked_ : times_.front());
  const auto recent = std::count_if(times_.begin(), times_.end(), [&](auto time) { return time >= since; });
  const double seconds = milliseconds(looked_ - since) / 1e3;
  Json latency = Json::object(), cameras = Json::array(), chunk = nullptr;
  for (const auto& [stage, samples] : samples_) latency[stage] = percentiles(samples);
  for (const auto& [name, bmp] : cameras_) cameras.push_back({{"name", name}, {"frame", frame_}});
  if (chunk_.steps > 0)
    chunk = {{"steps", chunk_.steps},
             {"dimensions", chunk_.dimensions},
             {"names", chunk_.names},
             {"units", chunk_.units},
             {"values", chunk_.values}};
  return {{"requests_per_second", seconds > 0 ? static_cast<double>(recent) / seconds : 0},
          {"latency_ms", latency},
          {"cameras", cameras},
          {"chunk", chunk}};
}

}  // namespace nervus::serve
