// Tensor: a contiguous row-major view of memory that somebody else owns, on any device. Two
// extents are enough for the whole model: rows (tokens) and columns (channels).
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace nervus {

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  float scale = 1;              // the values are scale times what is stored
  bool tiled = false;           // in the order of a matrix unit's operands, rows padded to tile_rows; the backend's own
  float* row_scales = nullptr;  // of i8: the values of row r are row_scales[r] times what is stored

  static constexpr std::int64_t tile_rows = 64;

  explicit operator bool() const { return columns > 0; }
  std::int64_t count() const { return rows * columns; }
  std::int64_t bytes() const { return count() * static_cast<std::int64_t>(size_of(dtype)); }

  template <typename T>
  T* as() const {
    check(dtype_of<T>() == dtype, "Tensor::as: wrong element type");
    return static_cast<T*>(data);
  }

  // Rows [begin, begin + length).
  Tensor slice(std::int64_t begin, std::int64_t length) const {
    check(begin >= 0 && length >= 0 && begin + length <= rows, "Tensor::slice: rows out of range");
    check(!tiled, "Tensor::slice: rows that lie together");
    const std::int64_t offset = begin * columns * static_cast<std::int64_t>(size_of(dtype));
    Tensor part{static_cast<std::byte*>(data) + offset, dtype, length, columns, scale};
    if (row_scales != nullptr) part.row_scales = row_scales + begin;
    return part;
  }

  // The same elements with another number of rows and columns.
  Tensor reshaped(std::int64_t new_rows, std::int64_t new_columns) const {
    check(new_rows * new_columns == count() && !tiled, "Tensor::reshaped: element counts differ");
    check(row_scales == nullptr, "Tensor::reshaped: rows have scales of their own");
    return {data, dtype, new_rows, new_columns, scale};
  }
};

}  // namespace nervus
