#include "checkpoint/layout.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/file.h"
#include "checkpoint/json.h"
#include "core/check.h"

namespace nervus {

std::optional<std::uint64_t> checked_bytes(const Shape& shape, DType dtype) noexcept {
  std::int64_t bytes = static_cast<std::int64_t>(size_of(dtype));
  bool overflow = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) bytes = 0;
    overflow |= __builtin_mul_overflow(bytes, extent, &bytes);
  }
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  return overflow ? std::nullopt : std::optional(static_cast<std::uint64_t>(bytes));
}

DType dtype_named(const std::string& name, std::string (*spell)(DType), const std::string& source) {
  std::string known;
  for (int i = 0; i <= static_cast<int>(DType::f64); ++i) {
    const std::string spelling = spell(static_cast<DType>(i));
    if (spelling.empty()) continue;
    if (name == spelling) return static_cast<DType>(i);
    known += (known.empty() ? "" : ", ") + spelling;
  }
  fail(ErrorKind::checkpoint, source + ": the element type " + in_quotes(name) + " is not supported: expected one of " +
                                  known + "; save it as one of these");
}

Shape read_shape(const Fields& fields) {
  Shape shape = fields.integers("shape", 0);
  if (shape.size() > longest_rank) fields.refuse("shape", "at most " + std::to_string(longest_rank) + " extents");
  return shape;
}

std::vector<std::int64_t> contiguous_strides(const Shape& shape, bool fortran_order) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::size_t axis = fortran_order ? i : shape.size() - 1 - i;
    strides[axis] = stride;
    stride *= std::max<std::int64_t>(shape[axis], 1);
  }
  return strides;
}

std::optional<Array> gather(std::span<const std::byte> source, DType dtype, const Shape& shape,
                            const std::vector<std::int64_t>& strides, std::int64_t offset) {
  check(shape.size() == strides.size(), "gather: a stride for each extent");
  const auto bytes = checked_bytes(shape, dtype);
  if (!bytes || *bytes > source.size()) return std::nullopt;
  if (*bytes == 0) return Array(dtype, shape);
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  std::int64_t last = offset;
  bool overflow = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::int64_t reach = 0;
    overflow |= __builtin_mul_overflow(shape[i] - 1, strides[i], &reach) || __builtin_add_overflow(last, reach, &last);
  }
  if (overflow || last >= static_cast<std::int64_t>(source.size()) / size) return std::nullopt;

  Array array(dtype, shape);
  if (strides == contiguous_strides(shape, false)) {
    std::memcpy(array.bytes.data(), source.data() + offset * size, array.bytes.size());
    return array;
  }
  Shape index(shape.size(), 0);
  std::int64_t place = offset;
  for (std::byte *target = array.bytes.data(), *end = target + array.bytes.size(); target != end; target += size) {
    std::memcpy(target, source.data() + place * size, static_cast<std::size_t>(size));
    for (std::size_t axis = shape.size(); axis-- > 0;) {  // the next index
      place += strides[axis];
      if (++index[axis] < shape[axis]) break;
      place -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return array;
}

}  // namespace nervus
