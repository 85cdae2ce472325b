#include "capi/arguments.h"

#include <algorithm>
#include <cstring>

#include "nervus/image_file.h"

namespace nervus::capi {
namespace {

[[noreturn]] void refuse(ErrorKind kind, const std::string& message) { throw Error(kind, message); }

std::size_t size_of_struct(const void* pointer, std::size_t first, const char* name) {
  require(pointer, name, "a struct");
  std::size_t size = 0;
  std::memcpy(&size, pointer, sizeof size);
  constexpr std::size_t most = 4096;  // a size that was never set must not be read to its end
  if (size < first || size > most) {
    refuse(ErrorKind::usage, std::string(name) + ".size: expected " + std::to_string(first) + " or more, found " +
                                 std::to_string(size) + ": set it to the struct's sizeof");
  }
  return size;
}

std::string text(const char* given, const char* otherwise = "") { return given != nullptr ? given : otherwise; }

// The elements of an array that may be absent if it is empty.
template <typename Element>
std::vector<Element> elements(const Element* first, std::size_t count, const char* name) {
  if (count > 0) require(first, name, "an array");
  constexpr std::size_t most = PTRDIFF_MAX / sizeof(Element);
  if (count > most) {
    refuse(ErrorKind::usage, std::string(name) + ": expected at most " + std::to_string(most) + " elements, found " +
                                 std::to_string(count));
  }
  return std::vector<Element>(first, first + count);
}

// What a C program put into an enumeration, which may be none of its values.
template <typename Enumeration>
int number_of(const Enumeration& value) {
  int number;
  static_assert(sizeof(number) == sizeof(value));
  std::memcpy(&number, &value, sizeof(number));
  return number;
}

TimeGrid time_grid(int grid) {
  if (grid == NERVUS_TIMES_EXACT) return TimeGrid::exact;
  if (grid == NERVUS_TIMES_BF16_ACCUMULATED) return TimeGrid::bf16_accumulated;
  refuse(ErrorKind::usage, "options.time_grid: expected 0 or 1, found " + std::to_string(grid));
}

DType dtype_of(int dtype, const std::string& name) {
  switch (dtype) {
    case NERVUS_F32: return DType::f32;
    case NERVUS_F16: return DType::f16;
    case NERVUS_BF16: return DType::bf16;
    case NERVUS_I32: return DType::i32;
    case NERVUS_I64: return DType::i64;
    case NERVUS_BOOL: return DType::boolean;
  }
  refuse(ErrorKind::usage, name + ": expected a dtype from 0 to 5, found " + std::to_string(dtype));
}

Array array_of(const nervus_tensor& tensor, const std::string& name) {
  const Shape shape = elements(tensor.shape, tensor.rank, (name + ".shape").c_str());
  Array array;
  array.dtype = dtype_of(number_of(tensor.dtype), name);
  array.shape = shape;
  const auto count = static_cast<std::size_t>(element_count(shape));
  const std::size_t size = size_of(array.dtype), bytes = tensor.bytes;
  if (bytes % size != 0 || bytes / size != count) {
    refuse(ErrorKind::input, name + ": expected " + std::to_string(count) + " values of " + name_of(array.dtype) + " " +
                                 to_string(shape) + ", found " + std::to_string(bytes) + " bytes");
  }
  if (bytes > 0) require(tensor.data, (name + ".data").c_str(), "an array");
  const auto* data = static_cast<const std::byte*>(tensor.data);
  array.bytes.assign(data, data + bytes);
  return array;
}

Image image_of(const nervus_image& image, const std::string& name) {
  require(image.rgb, (name + ".rgb").c_str(), "an array");
  if (image.width < 1 || image.height < 1) {
    refuse(ErrorKind::input, name + ": the image is empty: " + std::to_string(image.width) + " x " +
                                 std::to_string(image.height) + " pixels");
  }
  const std::size_t row = 3 * static_cast<std::size_t>(image.width);
  const std::size_t stride = image.row_bytes == 0 ? row : image.row_bytes;
  if (stride < row) {
    refuse(ErrorKind::usage,
           name + ".row_bytes: expected " + std::to_string(row) + " or more, found " + std::to_string(image.row_bytes));
  }
  Array pixels(DType::u8, {image.height, image.width, 3});
  for (std::int32_t y = 0; y < image.height; ++y)
    std::memcpy(pixels.bytes.data() + y * row, image.rgb + y * stride, row);
  return image_from_array(pixels, name);
}

}  // namespace

void require(const void* pointer, const char* name, const char* expected) {
  if (pointer != nullptr) return;
  refuse(ErrorKind::usage, std::string(name) + ": expected " + expected + ", found NULL");
}

void read_struct(const void* from, void* to, std::size_t known, std::size_t first, const char* name) {
  const std::size_t size = size_of_struct(from, first, name);
  const auto* bytes = static_cast<const unsigned char*>(from);
  const auto is_zero = [](unsigned char byte) { return byte == 0; };
  if (size > known && !std::all_of(bytes + known, bytes + size, is_zero)) {
    refuse(ErrorKind::usage, std::string(name) + ": expected the " + std::to_string(known) + " bytes of nervus " +
                                 version() + ", found more: the program was built with a later nervus.h and sets " +
                                 "fields that this library does not know; install a library of that version");
  }
  std::memcpy(to, from, std::min(size, known));
}

void write_struct(void* to, const void* from, std::size_t known, std::size_t first, const char* name) {
  const std::size_t size = size_of_struct(to, first, name);
  const std::size_t skipped = sizeof size;
  std::memcpy(static_cast<unsigned char*>(to) + skipped, static_cast<const unsigned char*>(from) + skipped,
              std::min(size, known) - skipped);
  if (size > known) std::memset(static_cast<unsigned char*>(to) + known, 0, size - known);
}

LoadOptions load_options(const nervus_load_options* given) {
  LoadOptions load;
  if (given == nullptr) return load;
  const nervus_load_options options = read(given, "options");
  load.device = text(options.device, load.device.c_str());
  if (options.precision != nullptr) load.precision = precision_from(options.precision);
  load.recipe = text(options.recipe);
  load.calibration = text(options.calibration);
  if (options.attention != nullptr) load.attention = attention_from(options.attention);
  load.plan = text(options.plan);
  load.robot = text(options.robot);
  load.norm_stats = text(options.norm_stats);
  load.normalization = text(options.normalization);
  for (const std::int32_t steps : elements(options.steps, options.step_count, "options.steps"))
    load.steps.push_back(steps);
  load.threads = options.threads;
  load.time_grid = time_grid(number_of(options.time_grid));
  load.limits = {.batch = options.batch == 0 ? load.limits.batch : options.batch,
                 .views = options.views,
                 .patches = options.patches,
                 .text_tokens = options.text_tokens};
  if (options.progress != nullptr) {
    load.progress = [progress = options.progress, context = options.context](std::int64_t done, std::int64_t total,
                                                                             const std::string& what) {
      progress(done, total, what.c_str(), context);
    };
  }
  return load;
}

InferOptions infer_options(const nervus_infer_options* given) {
  if (given == nullptr) return {};
  const nervus_infer_options options = read(given, "options");
  InferOptions infer{.steps = options.steps, .seed = options.seed, .keep_prefix = options.keep_prefix != 0};
  if (options.noise != nullptr) {
    infer.noise = array_of(*options.noise, "noise");
    if (infer.noise.bytes.empty()) {
      refuse(ErrorKind::input,
             "noise: expected values, found " + to_string(infer.noise.shape) + ": leave it NULL for the seed's");
    }
    if (infer.noise.shape.size() == 2) infer.noise.shape.insert(infer.noise.shape.begin(), 1);
  }
  return infer;
}

Observation observation(const nervus_observation* given) {
  const nervus_observation from = read(given, "observation");
  Observation observation;
  const std::vector<nervus_image> images = elements(from.images, from.image_count, "observation.images");
  for (std::size_t i = 0; i < images.size(); ++i) {
    require(images[i].camera, ("observation.images[" + std::to_string(i) + "].camera").c_str(), "a camera's name");
    const std::string camera = images[i].camera;
    const std::string name = "camera '" + camera + "'";
    if (observation.images.contains(camera)) refuse(ErrorKind::input, name + ": is given twice");
    observation.images[camera] = image_of(images[i], name);
  }
  observation.state = elements(from.state, from.state_count, "observation.state");
  require(from.prompt, "observation.prompt", "the instruction");
  observation.prompt = from.prompt;
  return observation;
}

Inputs inputs(const nervus_tensor* tensors, std::size_t count) {
  std::map<std::string, Array> arrays;
  std::size_t index = 0;
  for (const nervus_tensor& tensor : elements(tensors, count, "tensors")) {
    require(tensor.name, ("tensors[" + std::to_string(index++) + "].name").c_str(), "a tensor's name");
    if (!arrays.try_emplace(tensor.name, array_of(tensor, tensor.name)).second)
      refuse(ErrorKind::input, std::string(tensor.name) + ": is given twice");
  }
  return Inputs::from(std::move(arrays));
}

}  // namespace nervus::capi
