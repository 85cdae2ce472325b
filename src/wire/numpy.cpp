#include "wire/numpy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "core/message.h"

namespace nervus::wire {
namespace {

struct NumpyType {
  std::string_view name;
  DType dtype;
};

constexpr std::array<NumpyType, 12> types = {{{"|b1", DType::boolean},
                                              {"|u1", DType::u8},
                                              {"|i1", DType::i8},
                                              {"<u2", DType::u16},
                                              {"<i2", DType::i16},
                                              {"<f2", DType::f16},
                                              {"<u4", DType::u32},
                                              {"<i4", DType::i32},
                                              {"<f4", DType::f32},
                                              {"<u8", DType::u64},
                                              {"<i8", DType::i64},
                                              {"<f8", DType::f64}}};
constexpr std::size_t most_axes = 8;

// Bytes go to the wire as they lie in memory.
static_assert(std::endian::native == std::endian::little);

DType read_dtype(const MsgpackValue& map, const std::string& name) {
  const auto field = map.find("dtype");
  const auto text = field ? field->bytes() : std::nullopt;
  if (!text)
    fail(ErrorKind::input, name, ": dtype: expected a string such as '<f4', found ",
         field ? name_of(field->kind()) : "none");
  for (const NumpyType& type : types)
    if (type.name == *text) return type.dtype;
  // The text may be a binary, which nobody has checked.
  fail(ErrorKind::input, name, ": dtype: expected one of ", joined(types, &NumpyType::name), ", found ",
       text->size() <= 8 && is_utf8(*text) ? concat("'", *text, "'") : "another");
}

bool is_true(const MsgpackValue& map, std::string_view key) {
  const auto field = map.find(key);
  return field && field->boolean().value_or(false);
}

Shape read_shape(const MsgpackValue& map, const std::string& name) {
  const auto field = map.find("shape");
  if (!field || field->kind() != MsgpackKind::array || field->size() > most_axes)
    fail(ErrorKind::input, name, ": shape: expected an array of at most ", most_axes, " extents");
  Shape shape;
  for (const MsgpackValue& extent : field->elements()) {
    const auto value = extent.natural();
    if (!value || *value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      fail(ErrorKind::input, name, ": shape: expected integers from 0, found ", name_of(extent.kind()));
    shape.push_back(static_cast<std::int64_t>(*value));
  }
  return shape;
}

std::vector<float> to_float(const ArrayView& view, const std::string& name) {
  // Of the size of a state; what is larger is no state.
  constexpr std::int64_t most_values = 4096;
  const std::int64_t count = element_count(view.shape);
  if (count > most_values) fail(ErrorKind::input, name, ": expected at most ", most_values, " values, found ", count);
  Array array(view.dtype, view.shape);
  if (!view.bytes.empty()) std::memcpy(array.bytes.data(), view.bytes.data(), view.bytes.size());
  return array.to_float();
}

}  // namespace

std::optional<ArrayView> read_array(const MsgpackValue& value, const std::string& name) {
  if (!is_true(value, "__ndarray__")) return std::nullopt;
  ArrayView view;
  view.dtype = read_dtype(value, name);
  view.shape = read_shape(value, name);
  const auto data = value.find("data");
  const auto bytes = data ? data->binary() : std::nullopt;
  if (!bytes) fail(ErrorKind::input, name, ": data: expected a binary, found ", data ? name_of(data->kind()) : "none");
  const std::int64_t count = element_count(view.shape);
  const std::size_t size = size_of(view.dtype);
  if (bytes->size() % size != 0 || static_cast<std::uint64_t>(count) != bytes->size() / size)
    fail(ErrorKind::input, name, ": expected ", count, " values of ", size, " bytes for shape ", to_string(view.shape),
         ", found ", bytes->size(), " bytes");
  view.bytes = *bytes;
  return view;
}

std::vector<float> read_numbers(const MsgpackValue& value, const std::string& name) {
  if (const auto view = read_array(value, name)) return to_float(*view, name);
  if (is_true(value, "__npgeneric__")) {
    read_dtype(value, name);
    const auto data = value.find("data");
    if (data && data->boolean()) return {data->boolean().value() ? 1.0f : 0.0f};
    if (data && data->number()) return {static_cast<float>(*data->number())};
    fail(ErrorKind::input, name, ": data: expected a number, found ", data ? name_of(data->kind()) : "none");
  }
  if (value.number()) return {static_cast<float>(*value.number())};
  if (value.kind() != MsgpackKind::array)
    fail(ErrorKind::input, name, ": expected an array of numbers, found ", name_of(value.kind()));
  std::vector<float> numbers;
  for (const MsgpackValue& element : value.elements()) {
    const std::string place = concat(name, "[", numbers.size(), "]");
    const std::vector<float> inner =
        element.kind() == MsgpackKind::array ? std::vector<float>() : read_numbers(element, place);
    if (inner.size() != 1) fail(ErrorKind::input, place, ": expected a number, found ", name_of(element.kind()));
    numbers.push_back(inner.front());
  }
  return numbers;
}

void write_array(MsgpackWriter& writer, const ArrayView& array) {
  const auto type =
      std::find_if(types.begin(), types.end(), [&](const NumpyType& t) { return t.dtype == array.dtype; });
  check(type != types.end(), "numpy has a type for what is written");
  writer.map(4).binary("__ndarray__").boolean(true).binary("data").binary(array.bytes);
  writer.binary("dtype").text(type->name).binary("shape").array(array.shape.size());
  for (const std::int64_t extent : array.shape) writer.integer(extent);
}

void write_array(MsgpackWriter& writer, const std::vector<float>& values, const Shape& shape) {
  write_array(writer,
              {DType::f32, shape, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
}

}  // namespace nervus::wire
