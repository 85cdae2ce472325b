// What a policy is given and gives back: arrays, observations, inputs, chunks.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>

#include "binding.h"
#include "nervus/array_file.h"
#include "nervus/error.h"
#include "nervus/image_file.h"
#include "nervus/observation.h"

namespace nervus::python {
namespace {

using Code = nb::dlpack::dtype_code;

struct Match {
  Code code;
  int bits;
  DType dtype;
  bool in_numpy;
};

constexpr Match matches[] = {
    {Code::Bool, 8, DType::boolean, true},  {Code::UInt, 8, DType::u8, true},   {Code::Int, 8, DType::i8, true},
    {Code::UInt, 16, DType::u16, true},     {Code::Int, 16, DType::i16, true},  {Code::Float, 16, DType::f16, true},
    {Code::Bfloat, 16, DType::bf16, false}, {Code::UInt, 32, DType::u32, true}, {Code::Int, 32, DType::i32, true},
    {Code::Float, 32, DType::f32, true},    {Code::UInt, 64, DType::u64, true}, {Code::Int, 64, DType::i64, true},
    {Code::Float, 64, DType::f64, true},
};

nb::object image_array(Image image) {
  Array array;
  array.dtype = DType::u8;
  array.shape = {image.height, image.width, 3};
  const auto* bytes = reinterpret_cast<const std::byte*>(image.rgb.data());
  array.bytes.assign(bytes, bytes + image.rgb.size());
  return to_numpy(std::move(array));
}

void bind_inputs(nb::module_& module) {
  nb::class_<Observation>(module, "Observation", "One moment of a robot.")
      .def(nb::init<>())
      .def(
          "add_image",
          [](Observation& observation, const std::string& camera, const AnyArray& pixels) {
            const std::string name = "camera '" + camera + "'";
            observation.images[camera] = image_from_array(array_from(pixels, name), name);
          },
          nb::arg("camera"), nb::arg("pixels"), "A frame, u8 [height, width, 3], RGB.")
      .def(
          "read_image",
          [](Observation& observation, const std::string& camera, const std::filesystem::path& path) {
            observation.images[camera] = read_image(path);
          },
          nb::arg("camera"), nb::arg("path"), "A frame of a PNG or JPEG file.")
      .def_rw("state", &Observation::state)
      .def_rw("prompt", &Observation::prompt);

  nb::class_<Inputs>(module, "Inputs", "The tensors of a call.")
      .def_static(
          "of", [](const std::map<std::string, AnyArray>& arrays) { return Inputs::from(arrays_from(arrays)); },
          nb::arg("arrays"))
      .def_static("load", &Inputs::load, nb::arg("path"))
      .def(
          "arrays",
          [](const Inputs& inputs) {
            std::map<std::string, nb::object> arrays = {{"images", to_numpy(inputs.images)},
                                                        {"img_masks", to_numpy(inputs.image_mask)},
                                                        {"lang_tokens", to_numpy(inputs.tokens)},
                                                        {"lang_masks", to_numpy(inputs.token_mask)},
                                                        {"state", to_numpy(inputs.state)}};
            if (inputs.noise.count() > 0) arrays.emplace("noise", to_numpy(inputs.noise));
            return arrays;
          },
          nb::sig("def arrays(self) -> dict[str, numpy.typing.NDArray[typing.Any]]"));
}

// The values stay the chunk's own; the numpy array keeps it alive.
nb::object values_of(nb::handle self) {
  auto& chunk = nb::cast<ActionChunk&>(self);
  const std::size_t shape[] = {static_cast<std::size_t>(chunk.batch), static_cast<std::size_t>(chunk.steps),
                               static_cast<std::size_t>(chunk.dimensions)};
  return nb::cast(nb::ndarray<nb::numpy, float>(chunk.values.data(), 3, shape, self));
}

}  // namespace

Array array_from(const AnyArray& given, const std::string& name) {
  const nb::dlpack::dtype found = given.dtype();
  for (const Match& match : matches) {
    if (found.code != static_cast<std::uint8_t>(match.code) || found.bits != match.bits || found.lanes != 1) continue;
    Array array;
    array.dtype = match.dtype;
    array.shape.assign(given.shape_ptr(), given.shape_ptr() + given.ndim());
    array.bytes.resize(given.nbytes());
    if (!array.bytes.empty()) std::memcpy(array.bytes.data(), given.data(), array.bytes.size());
    return array;
  }
  throw Error(ErrorKind::input, name + ": expected booleans, integers or floats of 8 to 64 bits, found elements of " +
                                    std::to_string(found.bits) + " bits of another type");
}

nb::object to_numpy(Array given) {
  if (given.dtype == DType::bf16 || given.dtype == DType::e4m3) given = given.converted(DType::f32);
  auto array = std::make_unique<Array>(std::move(given));
  nb::dlpack::dtype dtype{};
  for (const Match& match : matches)
    if (match.dtype == array->dtype)
      dtype = {static_cast<std::uint8_t>(match.code), static_cast<std::uint8_t>(match.bits), 1};
  const std::vector<std::size_t> shape(array->shape.begin(), array->shape.end());
  void* data = array->bytes.data();
  const nb::capsule owner(array.get(), [](void* owned) noexcept { delete static_cast<Array*>(owned); });
  array.release();
  return nb::cast(nb::ndarray<nb::numpy>(data, shape.size(), shape.data(), owner, nullptr, dtype));
}

std::map<std::string, Array> arrays_from(const std::map<std::string, AnyArray>& given) {
  std::map<std::string, Array> arrays;
  for (const auto& [name, array] : given) arrays.emplace(name, array_from(array, name));
  return arrays;
}

void bind_values(nb::module_& module) {
  bind_inputs(module);
  nb::class_<ActionChunk>(module, "ActionChunk", "What one call answers.")
      .def_prop_ro("values", values_of, nb::sig("def values(self) -> numpy.typing.NDArray[numpy.float32]"),
                   "[batch, steps, dimensions]")
      .def_ro("names", &ActionChunk::names)
      .def_ro("units", &ActionChunk::units)
      .def_ro("timing", &ActionChunk::timing);
  module.def(
      "read_image", [](const std::filesystem::path& path) { return image_array(read_image(path)); }, nb::arg("path"),
      nb::sig("def read_image(path: str | os.PathLike[str]) -> numpy.typing.NDArray[numpy.uint8]"),
      "The pixels of a PNG or JPEG file, u8 [height, width, 3].");
  module.def(
      "read_arrays",
      [](const std::filesystem::path& path) {
        std::map<std::string, nb::object> arrays;
        for (auto& [name, array] : read_arrays(path)) arrays.emplace(name, to_numpy(std::move(array)));
        return arrays;
      },
      nb::arg("path"),
      nb::sig("def read_arrays(path: str | os.PathLike[str]) -> dict[str, numpy.typing.NDArray[typing.Any]]"));
}

}  // namespace nervus::python
