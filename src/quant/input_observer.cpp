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

InputStatistics& statistics_of(InputObserver::Statistics& all, const InputObserver::Limits& limits,
                               std::string_view linear) {
  auto place = all.find(linear);
  if (place != all.end()) return place->second;
  place = all.emplace(linear, InputStatistics{.histogram = std::vector<std::int64_t>(buckets)}).first;
  if (const auto limit = limits.find(place->first); limit != limits.end()) place->second.limit = limit->second;
  return place->second;
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

std::vector<float> InputObserver::read(const Tensor& x) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(x.bytes()));
  std::vector<float> values(static_cast<std::size_t>(x.count()));
  device_.download(bytes.data(), x);
  convert_to_float(x.dtype, bytes.data(), values.data(), x.count());
  return values;
}

void InputObserver::count(const std::vector<float>& values, InputStatistics& statistics, const char* what,
                          std::string_view linear) {
  for (const float value : values) {
    const float magnitude = std::abs(value);
    if (!std::isfinite(magnitude)) {
      fail(ErrorKind::numeric, what, " the linear ", in_quotes(linear), ": expected finite values, found ", value);
    }
    ++statistics.histogram[bucket_of(magnitude)];
    statistics.largest = std::max(statistics.largest, magnitude);
    if (statistics.limit > 0 && magnitude > statistics.limit) ++statistics.beyond;
  }
  statistics.count += std::ssize(values);
}

void InputObserver::before(const OpEvent& event) {
  const std::string_view op = event.op;
  const bool reads_norm = op == "linear" && norm_.scale && event.input.data == norm_.result.data &&
                          event.input.columns == norm_.result.columns;
  if (op != "linear") norm_ = event.scale ? event : OpEvent{};
  if (event.name.empty()) return;
  check(!op.starts_with("fused"), "calibration runs on linears that are not fused");
  count(read(event.input), statistics_of(linears_, limits_, event.name), "input of", event.name);
  if (!reads_norm) return;
  std::vector<float> stream = read(norm_.input);
  const std::vector<float> scale = read(norm_.scale);
  for (std::size_t i = 0; i < stream.size(); ++i) stream[i] *= scale[i % scale.size()];
  count(stream, statistics_of(streams_, stream_limits_, event.name), "stream before the norm of", event.name);
}

}  // namespace nervus
