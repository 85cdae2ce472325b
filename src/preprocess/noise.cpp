#include "preprocess/noise.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace nervus {
namespace {

constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
constexpr std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

// Values 2 block and 2 block + 1 of a stream of standard normals.
std::pair<float, float> normal_pair(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
  const auto words = philox({low(block), high(block), low(stream), high(stream)}, {low(seed), high(seed)});
  const std::uint64_t first = std::uint64_t{words[1]} << 32 | words[0];
  const std::uint64_t second = std::uint64_t{words[3]} << 32 | words[2];
  const double u = (static_cast<double>(first >> 11) + 1.0) * 0x1p-53;  // (0, 1]: its logarithm is finite
  const double v = static_cast<double>(second >> 11) * 0x1p-53;         // [0, 1)
  const double radius = std::sqrt(-2.0 * std::log(u));
  const double angle = 2.0 * std::numbers::pi * v;
  return {static_cast<float>(radius * std::cos(angle)), static_cast<float>(radius * std::sin(angle))};
}

// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) noexcept {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t even = std::uint64_t{0xd2511f53u} * counter[0];
    const std::uint64_t odd = std::uint64_t{0xcd9e8d57u} * counter[2];
    counter = {high(odd) ^ counter[1] ^ key[0], low(odd), high(even) ^ counter[3] ^ key[1], low(even)};
    key[0] += 0x9e3779b9u;
    key[1] += 0xbb67ae85u;
  }
  return counter;
}

void fill_normal(std::uint64_t seed, std::uint64_t stream, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; i += 2) {
    const auto [first, second] = normal_pair(seed, stream, i / 2);
    out[i] = first;
    if (i + 1 < count) out[i + 1] = second;
  }
}

void fill_synthetic(std::uint64_t seed, std::uint64_t stream, std::uint64_t first_index, float scale, float* out,
                    std::size_t count) {
  const auto words = philox({low(stream), high(stream), 0, 1}, {low(seed), high(seed)});
  const std::uint64_t start = std::uint64_t{words[1]} << 32 | words[0];
  constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;  // SplitMix64's step: value i comes from start + (i + 1) golden
  constexpr std::int32_t mean = 2 * 65535;
  constexpr float inverse_deviation = 0x1.bb67aep-16f;  // 1 / sqrt(4 (2^32 - 1) / 12)
  const float step = scale * inverse_deviation;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t bits = mix(start + (first_index + i + 1) * golden);
    const std::uint64_t pairs = (bits & 0x0000ffff0000ffffu) + ((bits >> 16) & 0x0000ffff0000ffffu);
    const auto sum = static_cast<std::int32_t>(low(pairs) + high(pairs));
    out[i] = static_cast<float>(sum - mean) * step;
  }
}

}  // namespace nervus
