#include "nervus/array.h"

#include <cstring>
#include <iterator>
#include <limits>

#include "core/dtype.h"
#include "core/message.h"

namespace nervus {

namespace {

struct Format {
  const char* name;
  std::size_t size;
};

// In the order of DType.
constexpr Format formats[] = {{"bool", 1}, {"u8", 1},  {"i8", 1},  {"f8_e4m3", 1}, {"u16", 2}, {"i16", 2}, {"f16", 2},
                              {"bf16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},     {"u64", 8}, {"i64", 8}, {"f64", 8}};
static_assert(std::size(formats) == static_cast<std::size_t>(DType::f64) + 1);

}  // namespace

std::size_t size_of(DType dtype) noexcept { return formats[static_cast<std::size_t>(dtype)].size; }

const char* name_of(DType dtype) noexcept { return formats[static_cast<std::size_t>(dtype)].name; }

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  bool overflow = false, empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) fail(ErrorKind::input, "shape " + to_string(shape) + " has a negative extent");
    if (extent == 0) empty = true;
    else overflow |= __builtin_mul_overflow(count, extent, &count);
  }
  if (overflow && !empty)
    fail(ErrorKind::input, "shape ", to_string(shape), " has more elements than 64 bits can count");
  return empty ? 0 : count;
}

std::string to_string(const Shape& shape) { return "[" + joined(shape) + "]"; }

Array::Array(DType type, Shape extents) : dtype(type), shape(std::move(extents)) {
  const auto elements = static_cast<std::uint64_t>(element_count(shape));
  if (elements > std::numeric_limits<std::int64_t>::max() / size_of(dtype)) {
    fail(ErrorKind::input, "shape " + to_string(shape) + " of " + name_of(dtype) + " is too large");
  }
  bytes.resize(elements * size_of(dtype));
}

template <typename T>
Array Array::from(const std::vector<T>& values, Shape extents) {
  Array array(dtype_of<T>(), std::move(extents));
  check(array.count() == static_cast<std::int64_t>(values.size()), "Array::from: value count and shape differ");
  if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

template Array Array::from(const std::vector<float>&, Shape);
template Array Array::from(const std::vector<std::int64_t>&, Shape);
template Array Array::from(const std::vector<std::int32_t>&, Shape);
template Array Array::from(const std::vector<std::uint8_t>&, Shape);

void Array::check_element(std::size_t size) const {
  check(size == size_of(dtype), std::string("Array::data: an element of ") + name_of(dtype) + "'s size");
}

std::vector<float> Array::to_float() const {
  std::vector<float> out(static_cast<std::size_t>(count()));
  convert_to_float(dtype, bytes.data(), out.data(), count());
  return out;
}

Array Array::converted(DType to) const {
  Array out(to, shape);
  convert(dtype, bytes.data(), to, out.bytes.data(), count());
  return out;
}

}  // namespace nervus
