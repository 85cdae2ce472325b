#include "quant/input_observer.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "checkpoint/file.h"
#include "core/message.h"

namespace nervus {
namespace {

// Buckets of |x|: the bits of a float32 from the 7th of its fraction on, between 2^-24 and 2^40. What is smaller or
// larger counts in the first or last.
constexpr int dropped_bits = 16;
constexpr std::uint32_t first_bucket = (127u - 24u) << 7, buckets = 64u << 7;

std::uint32_t bucket_of(float magnitude) {
  const std::uint32_t bucket = std::bit_cast<std::uint32_t>(magnitude) >> dropped_bits;
  return std::clamp(bucket, first_bucket, first_bucket + buckets - 1) - first_bucket;
}

}  // namespace

float InputStatistics::percentile(double percentile) const {
  const double rank = std::ceil(percentile / 100 * static_cast<double>(count));
  std::int64_t below = 0;
  std::uint32_t bucket = 0;
  while (bucket + 1 < buckets && static_cast<double>(below += histogram[bucket]) < rank) ++bucket;
  if (percentile >= 100 || bucket + 1 == buckets) return largest;
  return std::min(largest, std::bit_cast<float>((first_bucket + bucket + 1) << dropped_bits));
}

std::int64_t InputStatistics::above(float bound) const {
  if (bound >= largest) return 0;
  std::int64_t total = 0;
  for (std::uint32_t bucket = bucket_of(bound); bucket < buckets; ++bucket) total += histogram[bucket];
  return total;
}

void InputObserver::before(const OpEvent& event) {
  if (event.name.empty()) return;
  check(!std::string_view(event.op).starts_with("fused"), "calibration runs on linears that are not fused");
  auto place = linears_.find(event.name);
  if (place == linears_.end()) {
    place = linears_.emplace(event.name, InputStatistics{.histogram = std::vector<std::int64_t>(buckets)}).first;
    if (const auto limit = limits_.find(place->first); limit != limits_.end()) place->second.limit = limit->second;
  }
  InputStatistics& statistics = place->second;
  bytes_.resize(static_cast<std::size_t>(event.input.bytes()));
  values_.resize(static_cast<std::size_t>(event.input.count()));
  device_.download(bytes_.data(), event.input);
  convert_to_float(event.input.dtype, bytes_.data(), values_.data(), event.input.count());
  for (const float value : values_) {
    const float magnitude = std::abs(value);
    if (!std::isfinite(magnitude)) {
      fail(ErrorKind::numeric, "input of the linear ", in_quotes(event.name), ": expected finite values, found ",
           value);
    }
    ++statistics.histogram[bucket_of(magnitude)];
    statistics.largest = std::max(statistics.largest, magnitude);
    if (statistics.limit > 0 && magnitude > statistics.limit) ++statistics.beyond;
  }
  statistics.count += event.input.count();
}

}  // namespace nervus
