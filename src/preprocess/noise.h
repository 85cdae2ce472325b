// Random numbers that depend on nothing but their place: value i of a stream is a function of (seed, stream, i), so any
// part can be made anywhere, in any order, by any number of threads, with the same result.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nervus {

// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four 32-bit
// words from a 128-bit counter and a 64-bit key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) noexcept;

// Standard normals 0 .. count - 1 of a stream, by Box-Muller in double precision, rounded to float32. All finite.
void fill_normal(std::uint64_t seed, std::uint64_t stream, float* out, std::size_t count);

// Values first_index .. first_index + count - 1 of a stream of synthetic weights: mean 0, standard deviation `scale`,
// bell-shaped within +-3.46 scale (Irwin-Hall: the sum of four 16-bit uniforms). Integer arithmetic and one
// multiplication, so bit-exact on every machine. Adjacent calls join without a seam.
void fill_synthetic(std::uint64_t seed, std::uint64_t stream, std::uint64_t first_index, float scale, float* out,
                    std::size_t count);

}  // namespace nervus
