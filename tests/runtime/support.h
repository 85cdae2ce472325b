// What the tests of this room share.
#pragma once

#include <random>
#include <string>

#include "checkpoint/support.h"
#include "nervus/policy.h"
#include "nervus/tools.h"
#include "preprocess/image.h"

namespace nervus::test {

// Where the sources lay when this was built, or the folder that scripts/package.sh made.
inline std::string golden(const std::string& name) {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  const std::filesystem::path packaged = program.parent_path().parent_path() / "tests";
  const bool moved = std::filesystem::exists(packaged / "goldens");
  return (moved ? packaged.string() : std::string(NERVUS_SOURCE_DIR "/tests")) + "/goldens/" + name;
}

inline Inputs golden_inputs(const std::string& name) { return Inputs::load(golden(name) + "/inputs.safetensors"); }

// Limits that just fit the inputs.
inline Limits limits_of(const Inputs& inputs) {
  return {.batch = inputs.images.shape[0],
          .views = inputs.images.shape[1],
          .patches = inputs.images.shape[2],
          .text_tokens = inputs.tokens.shape[1]};
}

// Images of a call as pixels, u8 [B, V, S, S, 3].
inline Array random_pixels(std::int64_t batch, std::int64_t views, std::int64_t side, std::uint32_t seed) {
  Array pixels(DType::u8, {batch, views, side, side, 3});
  std::mt19937 random(seed);
  for (std::byte& level : pixels.bytes) level = static_cast<std::byte>(random());
  return pixels;
}

// The same as patches, f32 [B, V, P, 1176], made on the host.
inline Array patches_of(const Array& pixels) {
  const PatchGeometry geometry;
  const auto side = static_cast<int>(pixels.shape[2]);
  const std::int64_t count = patch_count(side, side, geometry), bytes = 3 * side * side;
  Array patches(DType::f32, {pixels.shape[0], pixels.shape[1], count, geometry.values()});
  for (std::int64_t v = 0; v < pixels.shape[0] * pixels.shape[1]; ++v) {
    const auto* rgb = pixels.data<std::uint8_t>() + v * bytes;
    extract_patches({side, side, {rgb, rgb + bytes}}, geometry, patches.data<float>() + v * count * geometry.values());
  }
  return patches;
}

// A batch of the same samples several times.
inline Inputs repeated(Inputs inputs, std::int64_t times) {
  for (Array* array :
       {&inputs.images, &inputs.image_mask, &inputs.tokens, &inputs.token_mask, &inputs.state, &inputs.noise}) {
    const std::vector<std::byte> once = array->bytes;
    for (std::int64_t i = 1; i < times; ++i) array->bytes.insert(array->bytes.end(), once.begin(), once.end());
    if (!array->shape.empty()) array->shape[0] *= times;
  }
  return inputs;
}

inline Policy load_golden(const std::string& name, Precision precision, int threads, Limits limits) {
  return Policy::load(golden(name), {.precision = precision, .threads = threads, .steps = {4}, .limits = limits});
}

// A tiny synthetic checkpoint, made once for all tests of the process.
inline const std::filesystem::path& tiny() {
  static const TemporaryDirectory directory;
  static const std::filesystem::path path = [] {
    synthesise(directory / "tiny", {.preset = "tiny", .seed = 1});
    return directory / "tiny";
  }();
  return path;
}

// Row [index] of the first axis, which stays with extent 1.
inline Array sample(const Array& array, std::int64_t index) {
  Shape shape = array.shape;
  const std::size_t bytes = array.bytes.size() / static_cast<std::size_t>(shape[0]);
  shape[0] = 1;
  Array row(array.dtype, shape);
  std::copy_n(array.bytes.begin() + static_cast<std::ptrdiff_t>(index * bytes), bytes, row.bytes.begin());
  return row;
}

inline Inputs sample(const Inputs& inputs, std::int64_t index) {
  return {sample(inputs.images, index),     sample(inputs.image_mask, index), sample(inputs.tokens, index),
          sample(inputs.token_mask, index), sample(inputs.state, index),      sample(inputs.noise, index)};
}

}  // namespace nervus::test
