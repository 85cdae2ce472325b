#include "checkpoint/layout.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/file.h"
#include "checkpoint/json.h"
#include "core/message.h"

namespace nervus {

std::optional<std::uint64_t> checked_bytes(const Shape& shape, DType dtype) noexcept {
  if (std::ranges::any_of(shape, [](std::int64_t extent) { return extent < 0; })) return std::nullopt;
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  auto bytes = static_cast<std::int64_t>(size_of(dtype));
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
  }
  return static_cast<std::uint64_t>(bytes);
}

DType dtype_named(const std::string& name, std::string (*spell)(DType), const std::string& source) {
  std::string known;
  for (int i = 0; i <= static_cast<int>(DType::f64); ++i) {
    const std::string spelling = spell(static_cast<DType>(i));
    if (spelling.empty()) continue;
    if (name == spelling) return static_cast<DType>(i);
    known += (known.empty() ? "" : ", ") + spelling;
  }
  fail(ErrorKind::checkpoint, source, ": the element type ", in_quotes(name), " is not supported: expected one of ",
       known, "; save it as one of these");
}

Shape read_shape(const Fields& fields) {
  Shape shape = fields.integers("shape", 0);
  if (shape.size() > longest_rank) fields.refuse("shape", concat("at most ", longest_rank, " extents"));
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
  Array array(dtype, shape);
  if (*bytes == 0) return array;
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  std::int64_t room = static_cast<std::int64_t>(source.size()) / size - 1 - offset;  // behind the last element
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] > 1 && strides[i] > room / (shape[i] - 1)) return std::nullopt;
    room -= (shape[i] - 1) * strides[i];
  }
  if (room < 0) return std::nullopt;

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
