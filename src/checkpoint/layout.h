// How elements lie in memory: sizes that cannot overflow, and strides.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nervus/array.h"

namespace nervus {

class Fields;

// More dimensions than any tensor has (NumPy and PyTorch allow as many).
inline constexpr std::size_t longest_rank = 64;

// element_count(shape) * size_of(dtype) if no extent is negative and 64 bits can count it.
std::optional<std::uint64_t> checked_bytes(const Shape& shape, DType dtype) noexcept;

// The type that `spell` writes as `name`. Otherwise throws Error(checkpoint) that begins with `source` and lists what
// would have been understood; types that spell as "" are left out.
DType dtype_named(const std::string& name, std::string (*spell)(DType), const std::string& source);

// The field "shape" of a header: at most `longest_rank` extents, none negative.
Shape read_shape(const Fields& fields);

// The strides, in elements, of a contiguous array in C order (the last index runs fastest) or Fortran order (the
// first). The shape's bytes must have been checked.
std::vector<std::int64_t> contiguous_strides(const Shape& shape, bool fortran_order);

// Copies the elements source[offset + sum_i index_i * strides_i] to a new array in C order. Empty if one of them lies
// outside the source, or if the array has more elements than the source. Extents, strides and offset are not negative.
std::optional<Array> gather(std::span<const std::byte> source, DType dtype, const Shape& shape,
                            const std::vector<std::int64_t>& strides, std::int64_t offset);

}  // namespace nervus
