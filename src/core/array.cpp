#include "nervus/array.h"

#include <cstring>
#include <limits>

#include "core/check.h"
#include "core/dtype.h"

namespace nervus {

std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::boolean:
    case DType::u8:
    case DType::i8: return 1;
    case DType::u16:
    case DType::i16:
    case DType::f16:
    case DType::bf16: return 2;
    case DType::u32:
    case DType::i32:
    case DType::f32: return 4;
    case DType::u64:
    case DType::i64:
    case DType::f64: break;
  }
  return 8;
}

const char* name_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::boolean: return "bool";
    case DType::u8: return "u8";
    case DType::i8: return "i8";
    case DType::u16: return "u16";
    case DType::i16: return "i16";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::u32: return "u32";
    case DType::i32: return "i32";
    case DType::f32: return "f32";
    case DType::u64: return "u64";
    case DType::i64: return "i64";
    case DType::f64: break;
  }
  return "f64";
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  bool overflow = false, empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) fail(ErrorKind::input, "shape " + to_string(shape) + " has a negative extent");
    if (extent == 0) empty = true;
    else if (count > std::numeric_limits<std::int64_t>::max() / extent) overflow = true;
    else count *= extent;
  }
  if (empty) return 0;
  if (overflow) fail(ErrorKind::input, "shape " + to_string(shape) + " has more elements than 64 bits can count");
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

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
