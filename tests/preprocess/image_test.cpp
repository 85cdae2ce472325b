#include "preprocess/image.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "preprocess/image_file.h"

using namespace nervus;

namespace {

Image read_pixels(const Safetensors& file, const std::string& name) { return image_from_array(file.read(name), name); }

// The patches of `image` that `rows` names, against those of the reference.
void check_patches(const Safetensors& file, const Image& image, const std::string& patches, const std::string& rows) {
  const PatchGeometry geometry;
  const auto width = static_cast<std::size_t>(geometry.values());
  std::vector<float> found(static_cast<std::size_t>(patch_count(image.width, image.height, geometry)) * width);
  extract_patches(image, geometry, found.data());
  const Array expected = file.read(patches);
  const Array index = file.read(rows);
  REQUIRE(expected.shape == Shape{index.count(), static_cast<std::int64_t>(width)});
  for (std::int64_t i = 0; i < index.count(); ++i) {
    const float* reference = expected.data<float>() + static_cast<std::size_t>(i) * width;
    const auto row = static_cast<std::size_t>(index.data<std::int64_t>()[i]);
    CHECK_MESSAGE(std::equal(reference, reference + width, found.begin() + static_cast<std::ptrdiff_t>(row * width)),
                  patches << ", patch " << row);
  }
}

}  // namespace

TEST_CASE("resize and patches equal Pillow and the Qwen2-VL processor to the last bit") {
  const Safetensors file = Safetensors::open(NERVUS_SOURCE_DIR "/tests/goldens/image_processor.safetensors");
  for (const std::string name : {"camera", "aloha", "square"}) {
    CAPTURE(name);
    const Image resized = resize_bilinear(read_pixels(file, name + ".image"), 224, 224);
    CHECK(resized.width == 224);
    CHECK(resized.height == 224);
    CHECK(resized.rgb == read_pixels(file, name + ".pil_bilinear_224").rgb);
    check_patches(file, resized, name + ".patches_224", "patch_rows");
  }
  const Image native = read_pixels(file, "aloha.image");
  CHECK(patch_count(native.width, native.height, {}) == 352);
  check_patches(file, native, "aloha.patches_native", "aloha.patch_rows_native");
}

TEST_CASE("resize equals Pillow for odd sizes") {
  const Safetensors file = Safetensors::open(NERVUS_SOURCE_DIR "/tests/preprocess/images/resized.safetensors");
  int cases = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    const std::string suffix = ".image";
    if (!tensor.name.ends_with(suffix)) continue;
    CAPTURE(tensor.name);
    const std::string name = tensor.name.substr(0, tensor.name.size() - suffix.size());
    const Image expected = read_pixels(file, name + ".resized");
    CHECK(resize_bilinear(read_pixels(file, tensor.name), expected.width, expected.height).rgb == expected.rgb);
    ++cases;
  }
  CHECK(cases == 11);
}

TEST_CASE("rows of a resized image are those of the whole") {
  std::mt19937 random(5);
  for (const auto& [width, height] : {std::pair{97, 211}, {64, 56}, {56, 333}, {56, 56}, {20, 9}}) {
    Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
    for (std::uint8_t& level : image.rgb) level = static_cast<std::uint8_t>(random());
    const Image whole = resize_bilinear(image, 56, 56);
    std::vector<std::uint8_t> parts(whole.rgb.size(), 1);
    for (const auto& [begin, end] : {std::pair{0, 1}, {1, 30}, {30, 30}, {30, 56}})
      resize_rows(image, 56, 56, begin, end, parts.data() + static_cast<std::ptrdiff_t>(begin) * 56 * 3);
    CHECK(parts == whole.rgb);
  }
}

TEST_CASE("a patch is laid out as channel, frame, row, column, and four patches make a block") {
  Image image{4, 8, std::vector<std::uint8_t>(4 * 8 * 3)};
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 4; ++x)
      image.rgb[static_cast<std::size_t>(y * 4 + x) * 3 + 1] = static_cast<std::uint8_t>(y * 4 + x);
  }
  const PatchGeometry geometry{.patch = 2, .merge = 2, .temporal = 3};
  REQUIRE(geometry.values() == 36);
  REQUIRE(patch_count(4, 8, geometry) == 8);
  std::vector<float> patches(8 * 36);
  extract_patches(image, geometry, patches.data());
  const auto level = [](int pixel) {
    return (static_cast<float>(pixel) - 0.4578275f * 255.0f) / (0.26130258f * 255.0f);
  };
  const int corners[8] = {0, 2, 8, 10, 16, 18, 24, 26};  // top left pixel of each patch
  for (int p = 0; p < 8; ++p) {
    for (int frame = 0; frame < 3; ++frame) {
      const float* green = patches.data() + p * 36 + 12 + frame * 4;
      CHECK(green[0] == level(corners[p]));
      CHECK(green[1] == level(corners[p] + 1));
      CHECK(green[2] == level(corners[p] + 4));
      CHECK(green[3] == level(corners[p] + 5));
    }
    CHECK(patches[static_cast<std::size_t>(p) * 36] == -0.48145466f * 255.0f / (0.26862954f * 255.0f));
  }
}
