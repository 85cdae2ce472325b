// Array: a named type and shape with its bytes on the host; what goes into and comes out of files
// and policies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nervus {

// Element types. Names as printed and as in safetensors headers, lower case ("f32", "bf16", "f8_e4m3").
enum class DType : std::uint8_t { boolean, u8, i8, e4m3, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64 };

// Bytes of one element: 1, 2, 4 or 8.
std::size_t size_of(DType dtype) noexcept;
// "f32", "bf16", "i64", "bool", ...
const char* name_of(DType dtype) noexcept;

// Extents, outermost first; empty for a scalar. Row-major and contiguous everywhere.
using Shape = std::vector<std::int64_t>;

// Product of the extents; 1 for a scalar. Throws Error(input) on a negative extent or overflow.
std::int64_t element_count(const Shape& shape);
// "[2752, 768]"
std::string to_string(const Shape& shape);

// An owning, contiguous, row-major array on the host.
struct Array {
  DType dtype = DType::f32;
  Shape shape{0};
  std::vector<std::byte> bytes;

  Array() = default;
  // A zero-filled array. Throws Error(input) if the shape overflows.
  Array(DType dtype, Shape shape);

  // Copies values into a new array; T must match a DType exactly.
  template <typename T>
  static Array from(const std::vector<T>& values, Shape shape);

  std::int64_t count() const { return element_count(shape); }
  // The elements as T, which must have the size of `dtype` (bf16 and f16 as std::uint16_t, bool as std::uint8_t).
  // Throws Error(internal) otherwise.
  template <typename T>
  T* data() {
    check_element(sizeof(T));
    return reinterpret_cast<T*>(bytes.data());
  }
  template <typename T>
  const T* data() const {
    check_element(sizeof(T));
    return reinterpret_cast<const T*>(bytes.data());
  }

  // The values converted to float32 (bf16 and f16 widened, integers and bools as numbers).
  std::vector<float> to_float() const;
  // A new array of type f32, f16, bf16 or e4m3 (round to nearest even) with the same shape.
  Array converted(DType to) const;

 private:
  void check_element(std::size_t size) const;
};

}  // namespace nervus
